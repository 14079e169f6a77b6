"""The inspector: several detectors over one picture, their scores added, as it is exported."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from manufacturing.visual_inspection.detectors import STRIDE, Excuses

STRIDES = (STRIDE, 2 * STRIDE)
"""Strides of the frozen features."""


class Inspector(nn.Module):
    """From a standardised picture and a threshold to score, verdict, heat and the raw map of every detector."""

    centre: Tensor
    spread: Tensor

    def __init__(self, backbone: nn.Module, detectors: Mapping[str, nn.Module], excuses: Excuses) -> None:
        super().__init__()
        self.backbone, self.detectors, self.excuses = backbone, nn.ModuleDict(detectors), excuses
        # Of each detector's score over good parts, so that they can be added.
        self.register_buffer("centre", torch.zeros(len(detectors)))
        self.register_buffer("spread", torch.ones(len(detectors)))

    def maps(self, pictures: Tensor) -> Tensor:
        """(batch, 1, height, width), standardised, to the raw maps (batch, detectors, h, w).

        Where operators have excused what is seen, a map shows no more than the average good part's score.
        """
        features = frozen_features(self.backbone, pictures)
        maps = torch.stack([detector(pictures, features) for detector in self.detectors.values()], dim=1)
        usual = torch.minimum(maps, self.centre[:, None, None])
        return torch.where(self.excuses.excused(features)[:, None], usual, maps)

    def raw_scores(self, maps: Tensor) -> Tensor:
        """(batch, detectors): the mean of the largest cells of each map, of its detector's share of them."""
        flat = maps.flatten(2)
        shares = [detector.share for detector in self.detectors.values()]
        return torch.stack([_mean_of_top(flat[:, i], share) for i, share in enumerate(shares)], dim=1)

    def score(self, raw: Tensor) -> Tensor:
        """(batch,): the sum of the raw scores, each in deviations above the average good part."""
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


def frozen_features(backbone: nn.Module, pictures: Tensor) -> list[Tensor]:
    """(batch, 1, height, width) to the maps that detectors get, at strides 8 and 16."""
    maps = backbone(pictures.expand(-1, 3, -1, -1))
    return [maps[backbone.strides.index(stride)] for stride in STRIDES]


def pooled(values: Tensor, share: float) -> Tensor:
    """(batch, h, w) to (batch,): the mean of the largest `share` of the cells, of one at least."""
    return _mean_of_top(values.flatten(1), share)


def _mean_of_top(flat: Tensor, share: float) -> Tensor:
    # The number of cells as a tensor: in an exported graph it then follows the picture's size.
    cells = torch._shape_as_tensor(flat)[1]
    top = torch.clamp((cells * share).to(torch.int64), min=1)
    return flat.topk(top if torch.jit.is_tracing() else int(top), dim=1).values.mean(1)
