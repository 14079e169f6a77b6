"""What a chest X-ray may look like all the same: turned, moved, larger, darker, blurred, noisy, partly covered."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from healthcare.disease_diagnosis.network import standardised

TURN, SCALE, STRETCH, MOVE = math.radians(15), 0.15, 0.1, 0.08
GAMMA, CONTRAST, BRIGHTNESS, NOISE = 0.5, 0.2, 0.1, 0.04
"""Ranges to either side; brightness and noise of pictures from 0 to 1."""
PATCH = (4, 13)
"""Sides of an erased patch, pixels."""


class Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Standardised pictures (1, 28, 28), drawn anew every time, and their labels."""

    def __init__(self, pictures: Tensor, y: Tensor, erased: float) -> None:
        self.pictures, self.y, self.erased = pictures, y, erased

    def __len__(self) -> int:
        return len(self.y)

    def __getitems__(self, rows: list[int]) -> list[tuple[Tensor, Tensor]]:
        """A batch at once: a picture alone takes ten times as long."""
        x = erased(standardised(varied(self.pictures[rows])), self.erased)
        return list(zip(x, self.y[rows], strict=True))

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return self.__getitems__([row])[0]


def varied(picture: Tensor) -> Tensor:
    """Pictures (n, 1, h, w) from 0 to 1, each in its own way; half of them mirrored."""
    n = len(picture)
    angle, scale, stretch = (either(n) * span for span in (TURN, SCALE, STRETCH))
    mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    wide, high = 1 + scale, (1 + scale) * (1 + stretch)
    rows = torch.stack([angle.cos() * wide * mirror, -angle.sin() * wide], 1)
    columns = torch.stack([angle.sin() * high * mirror, angle.cos() * high], 1)
    moved = (torch.rand(n, 2, 1) * 2 - 1) * 2 * MOVE  # the grid is two wide
    grid = functional.affine_grid(torch.cat([torch.stack([rows, columns], 1), moved], 2), list(picture.shape), False)
    x = functional.grid_sample(picture, grid, padding_mode="border", align_corners=False)
    gamma, contrast, brightness = (either(n, 1, 1, 1) * span for span in (GAMMA, CONTRAST, BRIGHTNESS))
    x = x.clamp(1e-3, 1) ** gamma.exp() * (1 + contrast) + brightness
    soft = functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    # From sharpened to blurred, for half of the pictures.
    blur = (torch.rand(n, 1, 1, 1) * 2 - 0.8).clamp(-0.7, 1) * (torch.rand(n, 1, 1, 1) < 0.5)
    x = x * (1 - blur) + soft * blur + torch.randn_like(x) * torch.rand(n, 1, 1, 1) * NOISE
    return x.clamp(0, 1)


def erased(x: Tensor, share: float) -> Tensor:
    """Standardised pictures (n, 1, h, w); in a share of them a patch is the mean (Zhong et al., 2020)."""
    high, wide = x.shape[2:]
    for row in (torch.rand(len(x)) < share).nonzero().flatten().tolist() if share else ():
        h, w = torch.randint(*PATCH, (2,)).tolist()
        top, left = int(torch.randint(0, high - h, ())), int(torch.randint(0, wide - w, ()))
        x[row, :, top : top + h, left : left + w] = 0
    return x


def either(*shape: int) -> Tensor:
    """Uniform between -1 and 1."""
    return torch.rand(shape) * 2 - 1
