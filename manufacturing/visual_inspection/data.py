"""Where pictures come from: the published magnetic tiles with their masks, and the simulator."""

from __future__ import annotations

import io
import re
import tarfile
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from common.data.card import load_card
from common.data.fetch import data_sha256, fetch
from common.errors import AuditError, DataError
from common.files import sha256
from common.vision.duplicates import near_duplicates, thumbnail
from common.vision.images import decode_grey
from manufacturing.visual_inspection.config import Config, Protocol
from manufacturing.visual_inspection.simulator import SIMULATED, simulate

GOOD = "good"
MEMBER = re.compile(r"MT_(\w+)/Imgs/(exp\d+_num_(\d+))\.jpg")
GAP = 40
"""Frames between two tiles: the exposures of one tile lie 15 to 40 frames apart."""
MASKED = 127
"""Masks are not binary; the source's threshold."""


@dataclass(frozen=True)
class Pictures:
    """Pictures of parts; place `i` of every field is one picture.

    `kind` is `good` or the name of the defect; `tile` says which pictures show the same part; `listed` marks the
    training pictures of the published split; a mask is bool of the picture's shape, nothing when none is known.
    """

    id: str
    name: np.ndarray
    kind: np.ndarray
    tile: np.ndarray
    listed: np.ndarray
    picture: list[np.ndarray]
    mask: list[np.ndarray]
    sha256: str
    simulated: bool
    title: str
    licence: str

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

    def split(self, protocol: Protocol, held_back: float, seed: int) -> dict[str, Pictures]:
        """train and valid, good parts only and no tile in both; and test.

        `published-split` trains on the listed pictures though their tiles may be in test at another exposure;
        `tile-disjoint` drops those. Test is the same.
        """
        train = self.listed.copy()
        if protocol == "tile-disjoint":
            train &= ~np.isin(self.tile, self.tile[~self.listed])
        tiles = np.unique(self.tile[train])
        drawn = np.random.default_rng(seed).permutation(tiles)[: max(1, round(held_back * len(tiles)))]
        valid = train & np.isin(self.tile, drawn)
        parts = {"train": train & ~valid, "valid": valid, "test": ~self.listed}
        found = {name: self.rows(np.flatnonzero(rows)) for name, rows in parts.items()}
        for name in ("train", "valid"):
            if not len(found[name]) or found[name].defective.any():
                raise AuditError(f"the {name} part must hold good parts and nothing else", where=self.id)
        if protocol == "tile-disjoint" and set(found["train"].tile) & set(found["test"].tile):
            raise AuditError("train and test share tiles", where=self.id)
        return found


def seen_before(train: Pictures, test: Pictures) -> np.ndarray:
    """bool (good pictures of test,): which have a near-duplicate in train; told by what they show, not by names."""
    good = [test.picture[i] for i in np.flatnonzero(test.defective == 0)]
    left, right = (np.array([thumbnail(picture) for picture in some]) for some in (good, train.picture))
    return near_duplicates(left, right)


def load(config: Config) -> Pictures:
    """All pictures of a data set. Raises `DatasetUnavailable`, `DataCorrupted` or `DataError` naming the member."""
    return _simulated(config) if config.dataset == SIMULATED else _magnetic_tile(config.dataset)


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
    names, kinds, frames, pictures, masks = [], [], [], [], []
    with tarfile.open(archive) as tar:
        contents = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
        for name, file in contents.items():
            if not (match := MEMBER.fullmatch(name)):
                continue
            assert file is not None
            picture = decode_grey(file.read(), f"{archive.name}: {name}")
            file = contents.get(name.replace(".jpg", ".png"))
            mask = np.zeros(picture.shape, bool) if file is None else _mask(file.read())
            if mask.shape != picture.shape:
                got, expected = f"a mask of {mask.shape}", f"{picture.shape}"
                raise DataError(
                    "mask and picture differ in size", where=f"{card.id}: {name}", got=got, expected=expected
                )
            names.append(match[2])
            kinds.append(GOOD if match[1] == "Free" else match[1].lower())
            frames.append(int(match[3]))
            pictures.append(picture)
            masks.append(mask)
    found = {name: int(n) for name, n in zip(*np.unique(kinds, return_counts=True), strict=True)}
    if found != card.label_counts:
        raise DataError("other pictures than the card says", where=card.id, got=found, expected=card.label_counts)
    kind, stem = np.array(kinds), np.array(names)
    return Pictures(
        id=card.id,
        name=stem,
        kind=kind,
        tile=tiles_of(np.array(frames)),
        listed=(kind == GOOD) & np.isin(stem, [file.removesuffix(".jpg") for file in listed]),
        picture=pictures,
        mask=masks,
        sha256=data_sha256(card),
        simulated=False,
        title=card.title,
        licence=card.licence,
    )


def _mask(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as mask:
        return np.asarray(mask.convert("L")) > MASKED


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
