"""Fitting: features of good parts, each detector on them, and the scale on which their scores are added."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf
from torch import Tensor, nn

from common.evaluation.conformal import threshold_for
from common.evaluation.metrics import auc
from common.training.loop import fit_dataset
from common.training.pretraining import pretrain
from common.vision.backbones import freeze_below, load_backbone
from common.vision.images import resized, standardised
from manufacturing.visual_inspection.config import OWN, Config
from manufacturing.visual_inspection.crops import Crops, Labelled, segmentation_loss
from manufacturing.visual_inspection.data import Pictures
from manufacturing.visual_inspection.detectors import (
    Excuses,
    Gaussian,
    MemoryBank,
    Reconstruction,
    Segmenter,
    Template,
    coreset,
    halved,
)
from manufacturing.visual_inspection.model import EDGE, STRIDES, Inspector, distances, frozen_features
from manufacturing.visual_inspection.synthetic import KINDS, add_defect

APART = 0.2
"""Share of the training parts that no detector learns from: their scores tell how far a new good part usually is."""

DAMAGED = 200
"""Calibration parts that get a synthetic defect, about, to see on validation how many are found."""
ENOUGH = 30
"""Cells that a mean and a deviation need."""
ALIKE_AMONG = 1000
"""Patches whose nearest neighbours say how alike two patches of good parts are."""


@dataclass(frozen=True)
class Fitted:
    """The detector, the scores of the good parts held back for the alarm, and what was measured on validation."""

    inspector: Inspector
    calibration: np.ndarray
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Material:
    """What detectors learn from: good parts, resized, float32 0 to 255 each, and labelled defects with their masks."""

    config: Config
    good: list[np.ndarray]
    defects: list[np.ndarray]
    masks: list[np.ndarray | None]
    backbone: nn.Module

    def features(self) -> Iterator[list[Tensor]]:
        """Frozen features of the good parts, at strides 8 and 16."""
        for picture in self.good:
            with torch.inference_mode():
                yield frozen_features(self.backbone, as_tensor(picture))


def fit(config: Config, train: Pictures, valid: Pictures) -> Fitted:
    """Fit on `train`: good parts and, for the supervised detector, labelled defects.

    The alarm is calibrated on the good parts of `valid`, which nothing else has seen.
    """
    rng = np.random.default_rng(config.seed)
    good = train.defective == 0
    parts = rng.permutation(np.unique(train.tile[good]))
    apart = good & np.isin(train.tile, parts[: max(1, round(APART * len(parts)))])
    ready = [resized(picture, config.scale) for picture in train.picture]
    learnt, fresh, bad = (_chosen(ready, rows) for rows in (good & ~apart, apart, ~good))
    backbone = _backbone(config, _chosen(train.picture, good & ~apart))
    material = Material(config, learnt, bad, _chosen(train.mask, ~good), backbone)
    detectors: dict[str, nn.Module] = {name: FIT[name](material) for name in config.detectors}

    inspector = Inspector(backbone, detectors, _excuses(material)).eval().requires_grad_(False)
    maps = [maps_of(inspector, picture) for picture in fresh]
    inspector.usual, inspector.varies = _by_distance(maps, len(detectors))
    raw = torch.cat([inspector.raw_scores(inspector.levels(one)) for one in maps])
    inspector.centre, inspector.spread = raw.mean(0), raw.std(0) + 1e-6

    kept = [resized(picture, config.scale) for picture in valid.picture]
    calibration = np.array([score(inspector, picture) for picture in kept])
    pairs = [(picture, kind) for kind in KINDS for picture in kept]
    pairs = pairs[:: max(1, len(pairs) // DAMAGED)]
    alarms = np.array([score(inspector, add_defect(picture, learnt, rng, kind)[0]) for picture, kind in pairs])
    y = np.repeat([0, 1], [len(calibration), len(alarms)])
    metrics = {
        "valid_auroc": auc(y, np.concatenate([calibration, alarms])),
        "valid_good_parts": len(calibration),
        "threshold": threshold_for(calibration, config.false_alarms_per_1000 / 1000),
    }
    return Fitted(inspector, calibration, metrics)


def maps_of(inspector: Inspector, picture: np.ndarray) -> Tensor:
    """(1, detectors + 1, h, w): the raw maps of one resized picture."""
    with torch.no_grad():
        return inspector.maps(as_tensor(picture))


def raw_scores(inspector: Inspector, picture: np.ndarray) -> Tensor:
    """(detectors,): what each detector says of one resized picture."""
    return inspector.raw_scores(inspector.levels(maps_of(inspector, picture)))[0]


def score(inspector: Inspector, picture: np.ndarray) -> float:
    """The score of one resized picture."""
    return float(inspector.score(raw_scores(inspector, picture)[None]))


def as_tensor(picture: np.ndarray) -> Tensor:
    """A resized picture as the detector takes it: standardised, (1, 1, height, width)."""
    return torch.from_numpy(standardised(picture))[None, None]


def channels_of(backbone: nn.Module) -> list[int]:
    """Channels of the maps that detectors get."""
    return [backbone.channels[backbone.strides.index(stride)] for stride in STRIDES]


def _by_distance(maps: Sequence[Tensor], detectors: int) -> tuple[Tensor, Tensor]:
    """Mean and deviation (detectors, EDGE + 1, EDGE + 1) of raw maps by distance from the edges.

    A distance that too few cells have, because parts are small or few, gets those of all cells.
    """
    values = torch.cat([one[0, :detectors].flatten(1) for one in maps], dim=1)
    place = torch.cat([distances(*one.shape[2:]).flatten() for one in maps])
    usual, varies = torch.empty(2, detectors, (EDGE + 1) ** 2)
    for distance in range((EDGE + 1) ** 2):
        known = values[:, place == distance]
        known = known if known.shape[1] >= ENOUGH else values
        usual[:, distance], varies[:, distance] = known.mean(1), known.std(1) + 1e-6
    shape = detectors, EDGE + 1, EDGE + 1
    return usual.reshape(shape), varies.reshape(shape)


def _chosen(values: Sequence[Any], rows: np.ndarray) -> list[Any]:
    return [value for value, kept in zip(values, rows, strict=True) if kept]


def _backbone(config: Config, pictures: list[np.ndarray]) -> nn.Module:
    """`own` is an untrained one that learns from the good parts themselves, without labels."""
    if config.backbone != OWN:
        return load_backbone(config.backbone, seed=config.seed)
    backbone = load_backbone("random", seed=config.seed)
    pretrain(backbone, pictures, config.pretraining, config.seed)
    return backbone


def _bank(material: Material) -> nn.Module:
    settings = material.config.bank
    bank = MemoryBank(channels_of(material.backbone), settings.size, settings.dimensions)
    points, generator = _projected(material, bank)
    bank.bank = points[coreset(points, settings.size, generator)].clone()
    return bank


def _excuses(material: Material) -> Excuses:
    """Empty; two patches are alike when they are no farther apart than a good one and the nearest of other parts."""
    excuses = Excuses(channels_of(material.backbone))
    points, generator = _projected(material, excuses)
    order = torch.randperm(len(points), generator=generator)
    some, others = points[order[:ALIKE_AMONG]], points[order[ALIKE_AMONG:]]
    if len(others):
        excuses.radius = torch.cdist(some, others).amin(1).median()
    return excuses


def _projected(material: Material, bank: MemoryBank) -> tuple[Tensor, torch.Generator]:
    """Patches drawn evenly from all good parts, embedded by the projection that they give `bank`."""
    generator = torch.Generator().manual_seed(material.config.seed)
    each = max(1, material.config.bank.candidates // len(material.good))
    drawn = []
    for features in material.features():
        points = bank.patches(features).flatten(0, 2)
        drawn.append(points[torch.randperm(len(points), generator=generator)[:each]].clone())
    points = torch.cat(drawn)
    bank.shift = points.mean(0)
    random = torch.randn(bank.projection.shape, generator=generator)
    bank.projection = random / (points.std(0)[:, None] + 1e-3) / len(random) ** 0.5
    return (points - bank.shift) @ bank.projection, generator


def _gaussian(material: Material) -> nn.Module:
    """Mean and shrunk covariance (Ledoit & Wolf, 2004) of patches drawn evenly from all good parts."""
    settings, rng = material.config.gaussian, np.random.default_rng(material.config.seed)
    each = max(1, settings.patches // len(material.good))
    points = []
    for _, coarse in material.features():
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
    """The finest layers stay as they are: they are edges and spots, and most of the time."""
    torch.manual_seed(material.config.seed)
    backbone = deepcopy(material.backbone)
    if material.config.thaw:
        freeze_below(backbone.requires_grad_(True), 4)
    segmenter = Segmenter(backbone)
    settings = material.config.segmenter
    fit_dataset(segmenter, crops, segmentation_loss, settings, seed=material.config.seed, backbone=backbone)
    return segmenter


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


EMPTY: dict[str, Callable[[nn.Module, Config], nn.Module]] = {
    "bank": lambda backbone, config: MemoryBank(channels_of(backbone), config.bank.size, config.bank.dimensions),
    "gaussian": lambda backbone, config: Gaussian(min(config.gaussian.dimensions, channels_of(backbone)[1])),
    "reconstruction": lambda backbone, config: Reconstruction(),
    "supervised": lambda backbone, config: Segmenter(deepcopy(backbone)),
    "synthetic": lambda backbone, config: Segmenter(deepcopy(backbone)),
    "template": lambda backbone, config: Template(),
}
"""Each detector before it has learnt anything, in the shapes of its weights."""

FIT: dict[str, Callable[[Material], nn.Module]] = {
    "bank": _bank,
    "gaussian": _gaussian,
    "reconstruction": _reconstruction,
    "supervised": _supervised,
    "synthetic": _synthetic,
    "template": _template,
}
