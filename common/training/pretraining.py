"""Self-supervised pre-training of a backbone on one's own pictures, without labels.

VICReg (Bardes, Ponce & LeCun, 2022, arXiv:2105.04906): two views of a picture get similar embeddings, while a floor
under the deviation of every dimension keeps them from becoming one point. That term makes it hold in batches of a
few dozen and in nets without batch norm, where SimSiam collapses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from common.config import Strict
from common.errors import UsageError
from common.training.loop import History, Optimisation, fit_dataset

SIMILAR, SPREAD, INDEPENDENT = 25.0, 25.0, 1.0
"""Weights of the three terms, the paper's."""
FLOOR = 1e-4


class Pretraining(Strict):
    """Views and embeddings; the defaults take minutes on two cores for some hundred pictures."""

    side: int = Field(96, ge=32, multiple_of=32, description="pixels of a view")
    smallest: float = Field(0.2, gt=0, le=1, description="area of a view, as a share of the picture")
    light: float = Field(0.3, ge=0, lt=1, description="largest change of brightness and contrast")
    width: int = Field(512, ge=8, description="dimensions of the embeddings")
    optimisation: Optimisation = Optimisation(epochs=30, batch=64, learning_rate=1e-3, largest_gradient=1.0)


def pretrain(backbone: nn.Module, pictures: Sequence[np.ndarray], settings: Pretraining, seed: int) -> History:
    """Train `backbone` in place on pictures uint8 (h, w) or (h, w, 3) of any sizes; it ends frozen.

    Raises `UsageError` for fewer than two pictures.
    """
    if len(pictures) < 2:
        raise UsageError(
            "pre-training compares pictures", got=len(pictures), expected="at least 2, better some hundred"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _Embedder(backbone.requires_grad_(True), settings.width)
    history = fit_dataset(model, _Views(pictures, settings), vicreg, settings.optimisation, seed=seed)
    backbone.requires_grad_(False)
    return history


def vicreg(embeddings: Tensor, _: Tensor) -> Tensor:
    """The loss of embeddings (batch, 2, width), two views of every picture."""
    first, second = embeddings.float().unbind(1)
    similar = functional.mse_loss(first, second)
    spread, independent = [], []
    for view in (first, second):
        view = view - view.mean(0)
        spread.append(functional.relu(1 - (view.var(0) + FLOOR).sqrt()).mean() / 2)
        covariance = view.T @ view / (len(view) - 1)
        independent.append((covariance.square().sum() - covariance.diagonal().square().sum()) / view.shape[1])
    return SIMILAR * similar + SPREAD * sum(spread) + INDEPENDENT * sum(independent)


class _Embedder(nn.Module):
    """Views (batch, 2, 3, h, w) to embeddings (batch, 2, width), by the means of all maps and three layers."""

    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.expand = nn.Sequential(
            nn.Linear(sum(backbone.channels), width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, width, bias=False),
        )

    def forward(self, views: Tensor) -> Tensor:
        # The finer maps are taught directly too: what is found in small places is read from them.
        means = [features.mean((2, 3)) for features in self.backbone(views.flatten(0, 1))]
        return self.expand(torch.cat(means, dim=1)).unflatten(0, (-1, 2))


class _Views(Dataset[tuple[Tensor, Tensor]]):
    """Two random crops of every picture in [-1, 1], mirrored and in another light; there is no target."""

    def __init__(self, pictures: Sequence[np.ndarray], settings: Pretraining) -> None:
        from common.vision.torchvision_ops import v2

        self.pictures = pictures
        light = settings.light
        self.view = v2.Compose(
            [
                v2.RandomResizedCrop(settings.side, (settings.smallest, 1.0), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.RandomVerticalFlip(),
                v2.ColorJitter(brightness=light, contrast=light),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.5], [0.5]),
            ]
        )

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        picture = torch.from_numpy(np.ascontiguousarray(self.pictures[index]))
        picture = picture.permute(2, 0, 1) if picture.ndim == 3 else picture[None]
        views = torch.stack([self.view(picture), self.view(picture)])
        return views.expand(2, 3, -1, -1), torch.zeros(())
