"""A small residual net for grey pictures of 28 x 28, a pretrained one under a linear layer, and an ensemble of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.vision.images import CONTRAST

STRIDE = 16
"""Of the maps of a backbone that are looked at: finer ones know edges, coarser ones have few places."""


class Block(nn.Module):
    """Pre-activation residual block (He et al., 2016) with squeeze and excitation (Hu et al., 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.before, self.between = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs or stride > 1 else None
        self.stride = stride
        hidden = max(outputs // 8, 2)
        self.gate = nn.Sequential(nn.Linear(outputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, h, w) to (batch, outputs, h / stride, w / stride)."""
        ready = functional.relu(self.before(x))
        kept = x
        if self.shortcut is not None:
            kept = self.shortcut(functional.avg_pool2d(ready, self.stride) if self.stride > 1 else ready)
        found = self.second(functional.relu(self.between(self.first(ready))))
        return kept + found * self.gate(found.mean((2, 3)))[:, :, None, None]


class Net(nn.Module):
    """`forward` maps standardised pictures (batch, 1, 28, 28) to log-odds (batch,)."""

    def __init__(self, channels: tuple[int, ...], blocks: tuple[int, ...], dropout: float = 0.1) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, channels[0], 3, 1, 1, bias=False)]
        inputs = channels[0]
        for stage, (outputs, count) in enumerate(zip(channels, blocks, strict=True)):
            for place in range(count):
                layers.append(Block(inputs, outputs, 2 if stage and not place else 1))
                inputs = outputs
        self.body = nn.Sequential(*layers, nn.BatchNorm2d(inputs), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(inputs, 1)

    def features(self, x: Tensor) -> Tensor:
        """(batch, channels, 7, 7)."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        """Log-odds of disease."""
        return self.head(self.dropout(self.features(x).mean((2, 3))))[:, 0]


class Transfer(nn.Module):
    """A backbone trained on photographs under one linear layer; `forward` as that of `Net`."""

    def __init__(self, backbone: nn.Module, side: int) -> None:
        super().__init__()
        self.backbone, self.side = backbone, side
        self.place = backbone.strides.index(STRIDE)
        self.head = nn.Linear(backbone.channels[self.place], 1)

    def features(self, x: Tensor) -> Tensor:
        """(batch, channels, side / 16, side / 16)."""
        large = functional.interpolate(x, size=(self.side, self.side), mode="bilinear", align_corners=False)
        return self.backbone((CONTRAST * large).clamp(-1, 1).expand(-1, 3, -1, -1))[self.place]

    def forward(self, x: Tensor) -> Tensor:
        """Log-odds of disease."""
        return self.head(self.features(x).mean((2, 3)))[:, 0]


class Ensemble(nn.Module):
    """`forward` maps raw pictures (batch, 1, 28, 28), 0 to 1, to mean log-odds (batch,) and the evidence (batch, 7, 7).

    Each net sees the picture and its mirror image (test-time augmentation). Behind a mean and one linear layer Grad-CAM
    (Selvaraju et al., 2017) is the weighted sum of the last maps: its mean plus the bias is the log-odds.
    """

    def __init__(self, nets: list[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds and evidence."""
        x = standardised(picture)
        maps = []
        for net in self.nets:
            for mirrored in (False, True):
                found = net.features(x.flip(3) if mirrored else x)
                found = found.flip(3) if mirrored else found
                maps.append((found * net.head.weight[0][:, None, None]).sum(1) + net.head.bias)
        evidence = torch.stack(maps).mean(0)
        return evidence.mean((1, 2)), evidence


def standardised(picture: Tensor) -> Tensor:
    """Mean 0 and one contrast for each picture (batch, 1, h, w), 0 to 1: exposure and windowing drop out."""
    mean = picture.mean((2, 3), keepdim=True)
    deviation = (picture - mean).square().mean((2, 3), keepdim=True).sqrt()
    return (picture - mean) / (deviation + 0.02)
