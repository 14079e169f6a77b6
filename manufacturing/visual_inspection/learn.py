"""How each detector learns from good parts, and the supervised one from labelled defects too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf
from torch import Tensor, nn

from common.training.loop import fit_dataset
from common.vision.backbones import cut
from common.vision.images import resized, standardised
from manufacturing.visual_inspection.config import Config
from manufacturing.visual_inspection.crops import Crops, Labelled, segmentation_loss
from manufacturing.visual_inspection.data import Pictures
from manufacturing.visual_inspection.detectors import (
    STRIDES,
    Crossed,
    Excuses,
    Gaussian,
    MemoryBank,
    Patches,
    Reconstruction,
    Segmenter,
    Template,
    coreset,
    halved,
)
from manufacturing.visual_inspection.model import frozen_features

ALIKE_AMONG, CANDIDATES = 1000, 30_000
"""Patches whose nearest neighbours among how many say how alike two patches of good parts are."""


@dataclass(frozen=True)
class Material:
    """What detectors learn from: good parts, resized, float32 0 to 255 each, and labelled defects with their masks.

    `fold` and `fold_of_defect` say which fold each is in.
    """

    config: Config
    backbone: nn.Module
    good: list[np.ndarray]
    fold: np.ndarray
    defects: list[np.ndarray]
    masks: list[np.ndarray | None]
    fold_of_defect: np.ndarray

    @classmethod
    def of(cls, config: Config, train: Pictures, backbone: nn.Module) -> Material:
        """All that there is."""
        fold, good = train.folds(config), train.defective == 0
        kept, bad = train.rows(np.flatnonzero(good)), train.rows(np.flatnonzero(~good))
        ready, defects = ([resized(p, config.scale) for p in some.picture] for some in (kept, bad))
        return cls(config, backbone, ready, fold[good], defects, bad.mask, fold[~good])

    def only(self, good: np.ndarray, defects: np.ndarray) -> Material:
        """The good parts and defects at these places, bool (n,)."""
        return replace(
            self,
            good=list(compress(self.good, good)),
            fold=self.fold[good],
            defects=list(compress(self.defects, defects)),
            masks=list(compress(self.masks, defects)),
            fold_of_defect=self.fold_of_defect[defects],
        )

    def features(self) -> Iterator[list[Tensor]]:
        """Frozen features of the good parts, at `STRIDES`."""
        for picture in self.good:
            with torch.inference_mode():
                yield frozen_features(self.backbone, as_tensor(picture))


def crossed(fit: Callable[[Material], nn.Module]) -> Callable[[Material], nn.Module]:
    """Fit one for each fold, on all but that."""

    def fit_all(material: Material) -> nn.Module:
        folds = range(material.config.folds)
        return Crossed([fit(material.only(material.fold != k, material.fold_of_defect != k)) for k in folds])

    return fit_all


def as_tensor(picture: np.ndarray) -> Tensor:
    """A resized picture as the detector takes it: standardised, (1, 1, height, width)."""
    return torch.from_numpy(standardised(picture))[None, None]


def channels_of(backbone: nn.Module) -> list[int]:
    """Channels of the maps that detectors get."""
    return [backbone.channels[backbone.strides.index(stride)] for stride in STRIDES]


def _bank(material: Material) -> nn.Module:
    """Patches drawn evenly from the good parts of a fold, and of them a coreset if there are more than its block holds.

    The projection is on the principal components of all: 32 of them tell more than 64 random directions.
    """
    settings, folds = material.config.bank, material.config.folds
    bank = MemoryBank(channels_of(material.backbone), folds, settings.size, settings.dimensions)
    generator = torch.Generator().manual_seed(material.config.seed)
    points = _patches(material, bank, settings.candidates, generator)
    every = torch.cat(points)
    bank.shift, deviation = every.mean(0), every.std(0)[:, None] + 1e-3
    flat = (every - bank.shift) / deviation.T
    _, components = torch.linalg.eigh(flat.T @ flat / len(flat))
    bank.projection = components[:, -settings.dimensions :] / deviation
    rows = bank.bank.shape[1]
    for fold in range(folds):
        some = torch.cat([p for p, own in zip(points, material.fold, strict=True) if own == fold])
        some = (some - bank.shift) @ bank.projection
        chosen = some[coreset(some, rows, generator)] if len(some) > rows else some
        bank.bank[fold] = chosen[torch.arange(rows) % len(chosen)]  # a block that is not full repeats itself
    return bank


def excuses(material: Material) -> Excuses:
    """Empty; two patches are alike when they are no farther apart than a good one and the nearest of other parts."""
    empty = Excuses(channels_of(material.backbone))
    generator = torch.Generator().manual_seed(material.config.seed)
    points = torch.cat(_patches(material, empty, CANDIDATES, generator))
    empty.shift = points.mean(0)
    random = torch.randn(empty.projection.shape, generator=generator)
    empty.projection = random / (points.std(0)[:, None] + 1e-3) / len(random) ** 0.5
    points = (points - empty.shift) @ empty.projection
    order = torch.randperm(len(points), generator=generator)
    some, others = points[order[:ALIKE_AMONG]], points[order[ALIKE_AMONG:]]
    if len(others):
        empty.radius = torch.cdist(some, others).amin(1).median()
    return empty


def _patches(material: Material, patches: Patches, candidates: int, generator: torch.Generator) -> list[Tensor]:
    """Of every good part as many patches (n, channels), drawn at random, so that all together are the candidates."""
    each = max(1, candidates // len(material.good))
    drawn = []
    for features in material.features():
        points = patches.patches(features).flatten(0, 2)
        drawn.append(points[torch.randperm(len(points), generator=generator)[:each]].clone())
    return drawn


def _gaussian(material: Material) -> nn.Module:
    """Mean and shrunk covariance (Ledoit & Wolf, 2004) of patches drawn evenly from all good parts."""
    settings, rng = material.config.gaussian, np.random.default_rng(material.config.seed)
    each = max(1, settings.patches // len(material.good))
    points = []
    for *_, coarse in material.features():
        found = coarse[0].flatten(1).T
        points.append(found[torch.from_numpy(rng.permutation(len(found))[:each])].numpy())
    x = np.concatenate(points)
    channels = np.sort(rng.permutation(x.shape[1])[: settings.dimensions])
    mean = x[:, channels].mean(0)
    covariance, _ = ledoit_wolf(x[:, channels] - mean, assume_centered=True)
    gaussian = Gaussian(len(channels))
    gaussian.channels, gaussian.mean = torch.from_numpy(channels), torch.from_numpy(mean)
    gaussian.root = torch.from_numpy(np.linalg.cholesky(np.linalg.inv(covariance)).astype(np.float32))
    return gaussian


def _synthetic(material: Material) -> nn.Module:
    return _segmenter(material, Crops(material.config.crops, material.good))


def _supervised(material: Material) -> nn.Module:
    return _segmenter(material, Labelled(material.config.crops, material.good, material.defects, material.masks))


def _segmenter(material: Material, crops: Crops) -> nn.Module:
    torch.manual_seed(material.config.seed)
    below, above = cut(material.backbone, STRIDES[0], STRIDES[-1])
    segmenter = Segmenter(above.requires_grad_(material.config.thaw), channels_of(material.backbone))
    # Channels last take a fifth less time on a CPU.
    net = _OnCrops(below, segmenter).to(memory_format=torch.channels_last)
    settings = material.config.segmenter
    fit_dataset(net, crops, segmentation_loss, settings, seed=material.config.seed, backbone=above)
    return segmenter


class _OnCrops(nn.Module):
    """A segmenter that is given crops: the frozen layers below it come first."""

    def __init__(self, below: nn.Module, segmenter: nn.Module) -> None:
        super().__init__()
        self.below, self.segmenter = below, segmenter

    def forward(self, crops: Tensor) -> Tensor:
        pictures = crops.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        return self.segmenter(crops, [self.below(pictures)])


def _reconstruction(material: Material) -> nn.Module:
    torch.manual_seed(material.config.seed)
    net = Reconstruction()
    whole = _Repairing(net)
    crops = Crops(material.config.crops, material.good, clean=True)

    def loss(repaired: Tensor, clean: Tensor) -> Tensor:
        return nn.functional.l1_loss(repaired, halved(clean))

    fit_dataset(whole, crops, loss, material.config.reconstruction, seed=material.config.seed)
    return net


class _Repairing(nn.Module):
    """The loop calls a module; what is to be learned is what `repair` gives."""

    def __init__(self, net: Reconstruction) -> None:
        super().__init__()
        self.net = net

    def forward(self, picture: Tensor) -> Tensor:
        return self.net.repair(picture)


def _template(material: Material) -> nn.Module:
    flat = torch.cat([Template.flat(as_tensor(picture)) for picture in material.good])
    template = Template()
    template.mean, template.deviation = flat.mean(0), flat.std(0) + 0.02
    return template


def _empty_segmenter(backbone: nn.Module) -> nn.Module:
    return Segmenter(cut(backbone, STRIDES[0], STRIDES[-1])[1], channels_of(backbone))


def _empty(make: Callable[[nn.Module, Config], nn.Module]) -> Callable[[nn.Module, Config], nn.Module]:
    return lambda backbone, config: Crossed([make(backbone, config) for _ in range(config.folds)])


EMPTY: dict[str, Callable[[nn.Module, Config], nn.Module]] = {
    "bank": lambda backbone, config: MemoryBank(
        channels_of(backbone), config.folds, config.bank.size, config.bank.dimensions
    ),
    "gaussian": _empty(lambda backbone, config: Gaussian(min(config.gaussian.dimensions, channels_of(backbone)[2]))),
    "reconstruction": _empty(lambda backbone, config: Reconstruction()),
    "supervised": _empty(lambda backbone, config: _empty_segmenter(backbone)),
    "synthetic": _empty(lambda backbone, config: _empty_segmenter(backbone)),
    "template": _empty(lambda backbone, config: Template()),
}
"""Each detector before it has learnt anything, in the shapes of its weights."""

FIT: dict[str, Callable[[Material], nn.Module]] = {
    "bank": _bank,
    "gaussian": crossed(_gaussian),
    "reconstruction": crossed(_reconstruction),
    "supervised": crossed(_supervised),
    "synthetic": crossed(_synthetic),
    "template": crossed(_template),
}
