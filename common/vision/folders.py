"""Your own pictures: a folder or archive with one folder for every kind, some with masks, some cut into train and test.

Two layouts. MVTec AD's: `train/good/*`, `test/<kind>/*`, `ground_truth/<kind>/<stem>_mask.png`. And the simple one:
`good/*`, `<kind>/*`, `masks/<kind>/<stem>.png`. `good` may be called `normal` or `ok`, in any case.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from common.errors import DataError, InvalidRequest, SchemaError
from common.files import sha256
from common.progress import bar
from common.vision.duplicates import own_structure, parts_of, thumbnail
from common.vision.files import File, open_files
from common.vision.images import decode_grey, decode_mask, mode_of
from common.vision.parts import PARTS, read_parts

T = TypeVar("T")
GOOD = "good"
NORMAL = {GOOD, "normal", "ok"}
MASKS = {"masks", "ground_truth"}
SPLITS = {"train", "test"}
MOST_PIXELS = 2_000_000_000
"""Of all pictures kept: two gigabytes, and training needs twice as much again."""


@dataclass(frozen=True)
class LeftOut:
    """A file that could not be used, and why: one sentence."""

    file: str
    reason: str


@dataclass(frozen=True)
class PictureFolder:
    """What was read, in order of the names; place `i` of every field is one picture.

    `kind` is `good` or the name of the folder; `split` is `train`, `test` or, in the simple layout, empty; `part` says
    which pictures show the same part; a `mask` is bool of the picture's shape, all False for a good part and None
    where none is known. `picture` is empty unless the pictures were to be kept. `others` are files that are no pictures
    by their name.
    """

    name: np.ndarray
    kind: np.ndarray
    split: np.ndarray
    part: np.ndarray
    parts_known: bool
    thumbnail: np.ndarray
    shape: list[tuple[int, int]]
    mode: list[str]
    picture: list[np.ndarray]
    mask: list[np.ndarray | None]
    left_out: tuple[LeftOut, ...]
    others: tuple[str, ...]
    sha256: str

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True)
class _Picture:
    shape: tuple[int, int]
    thumbnail: np.ndarray
    mode: str
    picture: np.ndarray | None


@dataclass
class _Contents:
    """Everything below the folder, by name, before its layout is known."""

    keep: bool
    pictures: dict[str, _Picture] = field(default_factory=dict)
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    tables: dict[str, bytes] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)
    pixels: int = 0

    def add(self, file: File) -> None:
        """Decode one file; what cannot be is left out with its reason."""
        name = file.name
        if file.refused:
            self.left_out[name] = file.refused
        elif Path(name).name == PARTS:
            self.tables[name] = file.content
        elif not file.is_picture:
            self.others.append(name)
        elif name in self.hashes:
            self.left_out[name] = "another file of this name came before it."
        else:
            self.hashes[name] = sha256(file.content)
            try:
                if MASKS & set(_folders(name)):
                    mask = decode_mask(file.content, "")
                    self.pixels += mask.size * self.keep
                    # Not kept, it takes no memory: its shape, and whether it marks anything.
                    self.masks[name] = mask if self.keep else np.broadcast_to(mask.any(), mask.shape)
                else:
                    grey = decode_grey(file.content, "")
                    self.pixels += grey.size * self.keep
                    shape, kept = (grey.shape[0], grey.shape[1]), grey if self.keep else None
                    self.pictures[name] = _Picture(shape, thumbnail(grey), mode_of(file.content), kept)
            except InvalidRequest as error:
                self.left_out[name] = str(error)

    def strip(self) -> None:
        """Take away the folders that all lie in, such as an archive's only one."""
        while root := _root([*self.pictures, *self.masks]):
            self.pictures, self.masks = _below(root, self.pictures), _below(root, self.masks)
            self.tables, self.hashes = _below(root, self.tables), _below(root, self.hashes)
            self.left_out = _below(root, self.left_out)
            self.others = [name.removeprefix(root) for name in self.others]


def read_folder(source: Path, *, keep: bool = True) -> PictureFolder:
    """Read all pictures, with masks and parts; without `keep` only their thumbnails stay in memory.

    Pictures show one part where `tiles.csv` says so; without that file, where they are near-duplicates. Raises
    `DataError` when there is no such folder or archive, it breaks off, nothing in it is readable, no kind is good, or
    the pictures are more than memory should hold.
    """
    contents = _read(source, keep)
    contents.strip()
    left = contents.left_out
    places: dict[str, tuple[str, str]] = {}
    mvtec = any(_folders(name)[:1] == ["train"] for name in contents.pictures)
    for name in sorted(contents.pictures):
        folders = name.split("/")[:-1]
        split = folders.pop(0).lower() if mvtec and folders and folders[0].lower() in SPLITS else ""
        if not folders or (mvtec and not split):
            left[name] = "outside the folders of kinds."
        else:
            places[name] = split, GOOD if folders[0].lower() in NORMAL else folders[0]
    masks = _masks(contents, places)
    names = sorted(places)
    if not any(kind == GOOD for _, kind in places.values()):
        got = "folders " + ", ".join(sorted({kind for _, kind in places.values()})) if places else "no folder of a kind"
        expected = "a folder of good parts, named good, normal or ok"
        raise DataError("there are no pictures of good parts", where=str(source), got=got, expected=expected)
    used = [contents.pictures[name] for name in names]
    thumbnails = np.array([picture.thumbnail for picture in used])
    if PARTS in left:
        raise SchemaError(f"cannot be used ({left[PARTS]})", where=f"{source}/{PARTS}")
    table = contents.tables.get(PARTS)
    part = parts_of(own_structure(thumbnails)) if table is None else read_parts(table, names, f"{source}/{PARTS}")
    fingerprint = [f"{digest}  {name}\n" for name, digest in contents.hashes.items()]
    if table is not None:
        fingerprint.append(f"{sha256(table)}  {PARTS}\n")
    return PictureFolder(
        name=np.array(names),
        kind=np.array([places[name][1] for name in names]),
        split=np.array([places[name][0] for name in names]),
        part=part,
        parts_known=table is not None,
        thumbnail=thumbnails,
        shape=[picture.shape for picture in used],
        mode=[picture.mode for picture in used],
        picture=[picture.picture for picture in used if picture.picture is not None],
        mask=[masks.get(name) for name in names],
        left_out=tuple(LeftOut(name, left[name]) for name in sorted(left)),
        others=tuple(contents.others),
        sha256=sha256("".join(sorted(fingerprint)).encode()),
    )


def _read(source: Path, keep: bool) -> _Contents:
    contents, done = _Contents(keep), 0.0
    with open_files(source) as (files, share), bar(f"reading {source.name}", 1.0) as advance:
        for file in files:
            contents.add(file)
            if contents.pixels > MOST_PIXELS:
                got, expected = f"over {contents.pixels:,} pixels", f"at most {MOST_PIXELS:,} in all pictures together"
                fix = "make the pictures smaller, or take fewer"
                raise DataError("too much to hold in memory", where=str(source), got=got, expected=expected, fix=fix)
            advance(share() - done, f"{len(contents.pictures):,} pictures")
            done = share()
    if not contents.pictures:
        unreadable = next((f"{name}: {reason}" for name, reason in contents.left_out.items()), "")
        fix = f"the first of {len(contents.left_out):,} that cannot be used is {unreadable}" if unreadable else ""
        raise DataError("no readable picture", where=str(source), expected="PNG, JPEG, BMP or TIFF files", fix=fix)
    return contents


def _masks(contents: _Contents, places: dict[str, tuple[str, str]]) -> dict[str, np.ndarray]:
    """Masks by the name of their picture; a picture whose mask does not fit leaves `places` with a reason."""
    left = contents.left_out
    # Before its picture is looked for: a mask that cannot be read takes its picture along.
    files = {_key(name): name for name in sorted({*contents.masks, *left}) if MASKS & set(_folders(name))}
    found: dict[str, np.ndarray] = {}
    for name, (split, kind) in list(places.items()):
        picture = contents.pictures[name]
        file = files.pop(_key(name), "") if split != "train" else ""
        mask = contents.masks.get(file) if file else np.zeros(picture.shape, bool) if kind == GOOD else None
        if file and mask is None:
            left[name] = f"its mask {file} cannot be used."
        elif mask is not None and mask.shape != picture.shape:
            sizes = " and ".join(f"{width} x {height}" for height, width in (picture.shape, mask.shape))
            left[name] = f"its mask {file} has another size: got {sizes} pixels, expected the same."
        elif mask is not None and kind == GOOD and mask.any():
            left[name] = f"a good part, but its mask {file} marks a defect."
        else:
            if mask is not None:
                found[name] = mask
            continue
        del places[name]
    known = {_key(name) for name in left if not MASKS & set(_folders(name))}
    lost = {name for key, name in files.items() if key not in known} - set(left)
    left.update(dict.fromkeys(lost, "a mask without its picture."))
    return found


def _key(name: str) -> tuple[str, ...]:
    """What a picture and its mask have in common: the kind, and the name without suffix and `_mask`."""
    *folders, file = name.split("/")
    if folders and folders[0].lower() in MASKS | SPLITS:
        folders = folders[1:]
    return *folders, file.rpartition(".")[0].removesuffix("_mask")


def _below(root: str, names: dict[str, T]) -> dict[str, T]:
    return {name.removeprefix(root): value for name, value in names.items()}


def _folders(name: str) -> list[str]:
    """The folders of a path, in lower case."""
    return name.lower().split("/")[:-1]


def _root(names: list[str]) -> str:
    """The first folder, when all lie in it and it is none of a layout's."""
    first = {name.partition("/")[0] for name in names if name.count("/") >= 2}
    if len(first) != 1 or any(name.count("/") < 2 for name in names):
        return ""
    [root] = first
    return "" if root.lower() in NORMAL | MASKS | SPLITS else f"{root}/"
