"""The detector: frozen features, a memory bank of good patches, and a segmenter taught with synthetic defects."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.vision.mobilenet import TAPS, MobileNetV1

STRIDE = 8
"""Pixels of the picture between two patches of the map."""
MEANS = sum(TAPS.values())
"""Channels of a patch: the mean of every feature map over it ..."""
PATCH = MEANS + TAPS[1] + TAPS[3]
"""... and the maximum of the two finest, in which a thin crack survives."""


class Patches(nn.Module):
    """Features of every patch: (batch, 1, height, width) standardised to (batch, PATCH, height / 8, width / 8).

    Sides must be divisible by 16. `shift` and `scale` give every channel mean 0 and deviation 1 over good parts.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, backbone: MobileNetV1) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("shift", torch.zeros(PATCH))
        self.register_buffer("scale", torch.ones(PATCH))

    def forward(self, pictures: Tensor) -> Tensor:
        """Means of all maps first, then maxima of the finest two."""
        finest, fine, middle, coarse = self.backbone(pictures.expand(-1, 3, -1, -1))
        means = functional.avg_pool2d(finest, 4), functional.avg_pool2d(fine, 2), middle
        wide = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        maxima = functional.max_pool2d(finest, 4), functional.max_pool2d(fine, 2)
        patches = torch.cat([*means, wide, *maxima], dim=1)
        return (patches - self.shift[:, None, None]) * self.scale[:, None, None]


class Segmenter(nn.Module):
    """Log-odds of a defect in every patch: (batch, PATCH, h, w) to (batch, h, w)."""

    def __init__(self, width: int = 96, dropout: float = 0.1) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(PATCH, width, 1)
        self.drop = nn.Dropout2d(dropout)
        self.near = nn.Conv2d(width, width, 3, padding=1)
        self.far = nn.Conv2d(width, width, 3, padding=2, dilation=2)
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, patches: Tensor) -> Tensor:
        """Two residual looks around, one of them wide."""
        x = self.drop(functional.relu(self.squeeze(patches)))
        x = x + functional.relu(self.near(x))
        x = x + functional.relu(self.far(x))
        return self.out(x)[:, 0]


class MemoryBank(nn.Module):
    """Distance to the nearest remembered patch of a good part (PatchCore, Roth et al., 2022, arXiv:2106.08265).

    The bank holds `size` patches whatever the number of pictures. (batch, PATCH, h, w) to (batch, h, w).
    """

    bank: Tensor
    projection: Tensor

    def __init__(self, size: int, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("bank", torch.zeros(size, dimensions))
        self.register_buffer("projection", torch.zeros(MEANS, dimensions))

    def embed(self, patches: Tensor) -> Tensor:
        """(batch, PATCH, h, w) to (batch, h, w, dimensions): the mean with the neighbours, projected at random."""
        around = functional.avg_pool2d(patches[:, :MEANS], 3, stride=1, padding=1, count_include_pad=False)
        return around.permute(0, 2, 3, 1) @ self.projection

    def forward(self, patches: Tensor) -> Tensor:
        """Euclidean distance, by the dot products that hardware is fast at."""
        x = self.embed(patches)
        squared = (x * x).sum(-1, keepdim=True) - 2 * (x @ self.bank.T) + (self.bank * self.bank).sum(-1)
        return squared.amin(-1).clamp(min=0).sqrt()


def coreset(points: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Greedy k-center (Sener & Savarese, 2018): positions of `size` of the points (n, dimensions) that cover all."""
    first = int(torch.randint(len(points), (1,), generator=generator))
    chosen = [first]
    norms = (points * points).sum(1)
    nearest = torch.full((len(points),), float("inf"))
    for _ in range(min(size, len(points)) - 1):
        last = points[chosen[-1]]
        nearest = torch.minimum(nearest, norms - 2 * (points @ last) + last @ last)
        chosen.append(int(nearest.argmax()))
    return torch.tensor(chosen)


def mean_of_top(values: Tensor, top: int) -> Tensor:
    """(batch, h, w) to (batch,): the mean of the `top` largest patches, a fixed number so that it can be exported."""
    return values.flatten(1).topk(top, dim=1).values.mean(1)


class Inspector(nn.Module):
    """The whole detector as it is exported: from a standardised picture and a threshold to score, verdict, maps."""

    centre: Tensor
    spread: Tensor

    def __init__(self, patches: Patches, segmenter: Segmenter, bank: MemoryBank, top: int) -> None:
        super().__init__()
        self.patches, self.segmenter, self.bank, self.top = patches, segmenter, bank, top
        # Of both detectors' scores over good parts, so that they can be added.
        self.register_buffer("centre", torch.zeros(2))
        self.register_buffer("spread", torch.ones(2))

    def maps(self, pictures: Tensor) -> Tensor:
        """(batch, 1, height, width), standardised, to the raw maps of segmenter and bank, (batch, 2, h, w)."""
        return self.maps_of(self.patches(pictures))

    def maps_of(self, patches: Tensor) -> Tensor:
        """The raw maps (batch, 2, h, w) of patches (batch, PATCH, h, w)."""
        return torch.stack([self.segmenter(patches), self.bank(patches)], dim=1)

    def raw_scores(self, maps: Tensor) -> Tensor:
        """(batch, 2): the mean of the `top` largest patches of either map."""
        return maps.flatten(2).topk(self.top, dim=2).values.mean(2)

    def score(self, raw: Tensor) -> Tensor:
        """(batch,): the sum of both raw scores, each in deviations above the average good part."""
        return ((raw - self.centre) / self.spread).sum(1)

    def heat(self, maps: Tensor) -> Tensor:
        """(batch, h, w): the raw maps in the units of the score."""
        return ((maps - self.centre[:, None, None]) / self.spread[:, None, None]).sum(1)

    def judge(self, maps: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score (batch,), defective (batch,) bool and heat (batch, h, w) of raw maps; `threshold` (batch,)."""
        score = self.score(self.raw_scores(maps))
        return score, score > threshold, self.heat(maps)

    def forward(self, pictures: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The same of pictures (batch, 1, height, width) with sides divisible by 16, and their raw maps."""
        maps = self.maps(pictures)
        return *self.judge(maps, threshold), maps
