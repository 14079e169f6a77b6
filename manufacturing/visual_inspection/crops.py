"""Crops of good parts, most of them with a defect, drawn anew whenever they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from common.vision.images import CONTRAST
from manufacturing.visual_inspection.config import CropSettings
from manufacturing.visual_inspection.detectors import STRIDE
from manufacturing.visual_inspection.model import pooled
from manufacturing.visual_inspection.synthetic import add_defect

RARE = 3.0  # weight of a defective cell: one in ten is
OF_PICTURE = 0.5  # weight of the whole crop's verdict in the loss
OF_CROP = 0.01  # share of its cells whose mean is a crop's verdict: 2 of 256
REAL = 0.5  # share of labelled defects among defective crops, so that few of them weigh as much as all synthetic ones


class Crops(Dataset[tuple[Tensor, Tensor]]):
    """(crop, mask) of good parts with synthetic defects; or, when `clean`, (crop, the same without the defect).

    Crop (1, side, side) is standardised by its whole picture, with a little change of light and noise; mask
    (side / 8, side / 8) is the share of defective pixels in each cell, 0 or 1 after rounding up.
    """

    def __init__(self, settings: CropSettings, good: Sequence[np.ndarray], clean: bool = False) -> None:
        self.settings, self.good, self.clean = settings, good, clean

    def __len__(self) -> int:
        return self.settings.count

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        # Seeded by torch, which the loop seeds: every epoch draws others, every run the same.
        rng = np.random.default_rng(int(torch.randint(2**62, (1,))))
        side = self.settings.side
        whole = self.good[int(rng.integers(len(self.good)))]
        before = _window(whole, side, rng)
        after, mask = before, np.zeros((side, side), bool)
        if rng.random() < self.settings.defective:
            after, mask = self.damage(before, rng)
        light = _Light(whole, rng)
        crop = torch.from_numpy(light(after))[None]
        if self.clean:
            return crop, torch.from_numpy(light(before))[None]
        return crop, functional.max_pool2d(torch.from_numpy(mask).float()[None], STRIDE)[0]

    def damage(self, crop: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A copy with one defect, and its mask."""
        return add_defect(crop, self.good, rng)


class Labelled(Crops):
    """The same, half of the defective crops around a labelled defect: kinds with few pictures are not drowned.

    Pictures without a mask teach nothing about places and are left out.
    """

    def __init__(
        self,
        settings: CropSettings,
        good: Sequence[np.ndarray],
        defects: Sequence[np.ndarray],
        masks: Sequence[np.ndarray | None],
    ) -> None:
        super().__init__(settings, good)
        self.pairs = [
            (picture, _fitting(mask, picture))
            for picture, mask in zip(defects, masks, strict=True)
            if mask is not None and mask.any()
        ]

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        if not self.pairs or torch.rand(()) >= self.settings.defective * REAL:
            return super().__getitem__(place)
        rng = np.random.default_rng(int(torch.randint(2**62, (1,))))
        picture, mask = self.pairs[int(rng.integers(len(self.pairs)))]
        both = np.stack([picture, mask.astype(np.float32)])
        rows, columns = np.nonzero(mask)
        chosen = rng.integers(len(rows))
        crop, found = _window(both, self.settings.side, rng, (int(rows[chosen]), int(columns[chosen])))
        light = _Light(picture, rng)
        target = functional.max_pool2d(torch.from_numpy(found.copy())[None], STRIDE)[0]
        return torch.from_numpy(light(crop))[None], target


class _Light:
    """Standardises crops by their whole picture, and changes light and noise a little."""

    def __init__(self, whole: np.ndarray, rng: np.random.Generator) -> None:
        self.mean, self.deviation = whole.mean(), whole.std(ddof=1)
        self.gain, self.offset = rng.uniform(0.8, 1.25), rng.normal(0, 0.05)
        self.noise = rng.uniform(0, 0.06) if rng.random() < 0.3 else 0.0
        self.seed = int(rng.integers(2**62))

    def __call__(self, crop: np.ndarray) -> np.ndarray:
        """float32 of the crop's shape, in [-1, 1]."""
        found = (crop - self.mean) / (self.deviation + 1) * CONTRAST * self.gain + self.offset
        if self.noise:
            found = found + np.random.default_rng(self.seed).normal(0, self.noise, crop.shape)
        return np.clip(found, -1, 1).astype(np.float32)


def _window(
    picture: np.ndarray, side: int, rng: np.random.Generator, around: tuple[int, int] | None = None
) -> np.ndarray:
    """A window (..., side, side) at random, or one that holds the place `around`; mirrored at random."""
    lengths = picture.shape[-2:]
    extra = [(0, 0)] * (picture.ndim - 2) + [(0, max(0, side - length)) for length in lengths]
    picture = np.pad(picture, extra, mode="symmetric")
    starts = []
    for axis, length in enumerate(picture.shape[-2:]):
        low, high = 0, length - side
        if around:
            low, high = max(low, around[axis] - side + 1), min(high, around[axis])
        starts.append(int(rng.integers(low, high + 1)))
    window = picture[..., starts[0] : starts[0] + side, starts[1] : starts[1] + side]
    return window[..., :: rng.choice([-1, 1]), :: rng.choice([-1, 1])].astype(np.float32)


def _fitting(mask: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """The mask in the size of the resized picture."""
    rows, columns = (
        np.minimum(np.arange(new) * old // new, old - 1) for new, old in zip(picture.shape, mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)]


def segmentation_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of every cell and of the whole crop, both log-odds (batch, h, w) against 0 or 1."""
    cells = functional.binary_cross_entropy_with_logits(found, wanted, pos_weight=torch.tensor(RARE))
    defective = (wanted.amax((1, 2)) > 0).float()
    verdict = functional.binary_cross_entropy_with_logits(pooled(found, OF_CROP), defective)
    return cells + OF_PICTURE * verdict
