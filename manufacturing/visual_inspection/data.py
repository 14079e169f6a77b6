"""Where pictures come from: the published magnetic tiles with their masks, the simulator, and a folder of your own."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.data.card import load_card
from common.data.fetch import data_sha256, fetch
from common.errors import AuditError, DataError, DatasetUnavailable
from common.files import sha256
from common.progress import warn
from common.vision.duplicates import near_duplicates, own_structure, thumbnail
from common.vision.files import open_files
from common.vision.folders import GOOD, LeftOut, read_folder
from common.vision.images import decode_grey, decode_mask
from manufacturing.visual_inspection.config import Config, Protocol
from manufacturing.visual_inspection.simulator import SIMULATED, simulate

PUBLISHED = "magnetic-tile"
PUBLISHED_SPLIT: Protocol = "published-split"
MEMBER = re.compile(r"MT_(\w+)/Imgs/(exp\d+_num_(\d+))\.jpg")
GAP = 40
"""Frames between two tiles: the exposures of one tile lie 15 to 40 frames apart."""
LEAST_PARTS = 20
"""Good parts of one's own: a fifth is for the test, a fifth of the rest for the alarm, so 13 are left to learn from."""
TESTED = 5
"""One good part in so many is for the test, unless the folders say which."""


@dataclass(frozen=True)
class Pictures:
    """Pictures of parts; place `i` of every field is one picture.

    `kind` is `good` or the name of the defect; `tile` says which pictures show the same part; `listed` marks the
    pictures that may be trained on; a mask is bool of the picture's shape, None where none is known; `left_out` are
    files that could not be used.
    """

    id: str
    name: np.ndarray
    kind: np.ndarray
    tile: np.ndarray
    listed: np.ndarray
    picture: list[np.ndarray]
    mask: list[np.ndarray | None]
    sha256: str
    simulated: bool
    title: str
    licence: str
    left_out: tuple[LeftOut, ...] = ()

    def __len__(self) -> int:
        return len(self.name)

    @property
    def defective(self) -> np.ndarray:
        """int (pictures,): 1 for a defect."""
        return (self.kind != GOOD).astype(int)

    def rows(self, index: np.ndarray) -> Pictures:
        """The pictures at these positions."""
        arrays: dict[str, Any] = {name: getattr(self, name)[index] for name in ("name", "kind", "tile", "listed")}
        lists: dict[str, Any] = {name: [getattr(self, name)[i] for i in index] for name in ("picture", "mask")}
        return replace(self, **arrays, **lists)

    def rows_of(self, kind: str) -> Pictures:
        """The pictures of one kind."""
        return self.rows(np.flatnonzero(self.kind == kind))

    def unit(self, protocol: Protocol) -> np.ndarray:
        """int (pictures,): what is new when a part is inspected: a tile, by the published split a picture."""
        return np.arange(len(self)) if protocol == PUBLISHED_SPLIT else self.tile

    def folds(self, config: Config) -> np.ndarray:
        """int (pictures,): the fold of each, drawn by units, so that a held-back one is as new as those of the test.

        Raises `AuditError` when there are fewer good units than folds.
        """
        unit = self.unit(config.protocol)
        good = np.unique(unit[self.defective == 0])
        if len(good) < config.folds:
            got, expected = f"{len(good)} good parts", f"at least {config.folds}, one for each fold"
            raise AuditError("too few good parts to train on", where=self.id, got=got, expected=expected)
        rng = np.random.default_rng(config.seed)
        others = np.setdiff1d(unit, good)
        order = np.concatenate([rng.permutation(good), rng.permutation(others)])
        fold = dict(zip(order.tolist(), (np.arange(len(order)) % config.folds).tolist(), strict=True))
        return np.array([fold[one] for one in unit.tolist()])

    def split(self, protocol: Protocol, seed: int) -> dict[str, Pictures]:
        """train and test.

        `published-split` trains on the listed good parts though their tiles may be in test at another exposure;
        `tile-disjoint` drops those. Test is the same. `labelled` cuts all tiles in two halves, and the half that is
        trained on keeps its defects.
        """
        if protocol == "labelled":
            order = np.random.default_rng(seed).permutation(np.unique(self.tile))
            tested = np.isin(self.tile, order[: len(order) // 2])
        else:
            tested = ~self.listed
        train = ~tested
        if protocol == "tile-disjoint":
            train &= ~np.isin(self.tile, self.tile[tested])
        found = {name: self.rows(np.flatnonzero(rows)) for name, rows in (("train", train), ("test", tested))}
        if not (found["train"].kind == GOOD).any():
            raise AuditError("the train part must hold good parts", where=self.id)
        if protocol != PUBLISHED_SPLIT and set(found["train"].tile) & set(found["test"].tile):
            raise AuditError("train and test share tiles", where=self.id)
        return found


def seen_before(train: Pictures, test: Pictures) -> np.ndarray:
    """bool (good pictures of test,): which have a near-duplicate in train; told by what they show, not by names."""
    good = [test.picture[i] for i in np.flatnonzero(test.defective == 0)]
    thumbnails = own_structure(np.array([thumbnail(picture) for picture in [*good, *train.picture]]))
    return near_duplicates(thumbnails[: len(good)], thumbnails[len(good) :])


def located(dataset: str) -> str:
    """A path that is found from anywhere, or the name of a known data set."""
    return dataset if dataset in (SIMULATED, PUBLISHED) else str(Path(dataset).expanduser().resolve())


def load(config: Config) -> Pictures:
    """All pictures of a data set, or of the folder or archive that `dataset` names.

    Raises `DatasetUnavailable`, `DataCorrupted` or `DataError` naming the file.
    """
    if config.dataset == SIMULATED:
        return _simulated(config)
    return _magnetic_tile(PUBLISHED) if config.dataset == PUBLISHED else _own(Path(config.dataset), config.seed)


def tiles_of(frames: np.ndarray, gap: int = GAP) -> np.ndarray:
    """int (pictures,): the tile of each running frame number; a gap of more than `gap` frames starts a new one."""
    order = np.argsort(frames, kind="stable")
    tiles = np.empty(len(frames), int)
    tiles[order] = np.concatenate([[0], np.cumsum(np.diff(frames[order]) > gap)])
    return tiles


def _magnetic_tile(dataset: str) -> Pictures:
    card = load_card(dataset)
    paths = fetch(card)
    archive, listing = (paths[file.path] for file in card.files)
    listed = set(listing.read_text(encoding="utf-8").split())
    places, names, kinds, frames, pictures = [], [], [], [], []
    masks: dict[str, np.ndarray] = {}
    with open_files(archive) as (files, _):
        for file in files:
            if file.name.endswith(".png"):
                masks[file.name.removesuffix(".png")] = decode_mask(file.content, f"{archive.name}: {file.name}")
            elif match := MEMBER.fullmatch(file.name):
                places.append(file.name.removesuffix(".jpg"))
                names.append(match[2])
                kinds.append(GOOD if match[1] == "Free" else match[1].lower())
                frames.append(int(match[3]))
                pictures.append(decode_grey(file.content, f"{archive.name}: {file.name}"))
    found = {name: int(n) for name, n in zip(*np.unique(kinds, return_counts=True), strict=True)}
    if found != card.label_counts:
        raise DataError("other pictures than the card says", where=card.id, got=found, expected=card.label_counts)
    for place, picture in zip(places, pictures, strict=True):
        if (mask := masks.setdefault(place, np.zeros(picture.shape, bool))).shape != picture.shape:
            where, got, expected = f"{card.id}: {place}", f"a mask of {mask.shape}", f"{picture.shape}"
            raise DataError("mask and picture differ in size", where=where, got=got, expected=expected)
    kind, stem = np.array(kinds), np.array(names)
    return Pictures(
        id=card.id,
        name=stem,
        kind=kind,
        tile=tiles_of(np.array(frames)),
        listed=(kind == GOOD) & np.isin(stem, [file.removesuffix(".jpg") for file in listed]),
        picture=pictures,
        mask=[masks[place] for place in places],
        sha256=data_sha256(card),
        simulated=False,
        title=card.title,
        licence=card.licence,
    )


def _own(source: Path, seed: int) -> Pictures:
    """Where the folders do not say which pictures are for the test, a fifth of the good parts is, and all others are
    trained on; pictures with a defect are for the test, and so is every picture of a part that has one.
    """
    if not source.exists():
        expected = f"{PUBLISHED}, {SIMULATED}, or the path of a folder, tar or zip"
        raise DatasetUnavailable("no such data set", where=str(source), expected=expected)
    found = read_folder(source)
    for one in found.left_out:
        warn(f"left out {one.file}: {one.reason}")
    good = found.kind == GOOD
    if (found.split == "").all():
        parts = np.setdiff1d(found.part[good], found.part[~good])
        tested = np.random.default_rng(seed).permutation(parts)[: max(1, len(parts) // TESTED)]
        listed = good & np.isin(found.part, parts) & ~np.isin(found.part, tested)
    else:
        listed = good & (found.split == "train")
        parts = np.setdiff1d(found.part[listed], found.part[~listed])
    if len(parts) < LEAST_PARTS:
        told = "tiles.csv says so" if found.parts_known else "near-duplicates count as one, tiles.csv can say otherwise"
        raise DataError(
            "too few good parts",
            where=str(source),
            got=f"{len(parts)} parts in {good.sum()} good pictures ({told})",
            expected=f"at least {LEAST_PARTS} that no defective or test picture shows",
        )
    return Pictures(
        id=f"own:{source.resolve().name}",
        name=found.name,
        kind=found.kind,
        tile=found.part,
        listed=listed,
        picture=found.picture,
        mask=found.mask,
        sha256=found.sha256,
        simulated=False,
        title=f"Own pictures, {len(found):,} in {source.name}",
        licence="not stated",
        left_out=found.left_out,
    )


def _simulated(config: Config) -> Pictures:
    kinds, tiles, pictures, masks = zip(*simulate(config.parts, config.seed), strict=True)
    kind, tile = np.array(kinds), np.array(tiles)
    good = np.unique(tile[kind == GOOD])
    tested = np.random.default_rng(config.seed).permutation(good)[: max(2, len(good) // 4)]
    return Pictures(
        id=SIMULATED,
        name=np.array([f"tile_{number}_{place}" for place, number in enumerate(tile)]),
        kind=kind,
        tile=tile,
        listed=(kind == GOOD) & ~np.isin(tile, tested),
        picture=list(pictures),
        mask=[np.zeros(p.shape, bool) if m is None else m for p, m in zip(pictures, masks, strict=True)],
        sha256=sha256(b"".join(picture.tobytes() for picture in pictures)),
        simulated=True,
        title="Simulated magnetic tiles (no real part)",
        licence="made here, no rights reserved",
    )
