"""Fitting: the members on all good parts but a fold, and the scale and the alarm on the fold that each has not seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common.evaluation.conformal import Calibration
from common.evaluation.metrics import auc
from common.training.pretraining import pretrain
from common.vision.backbones import load_backbone
from common.vision.images import resized
from manufacturing.visual_inspection.config import OWN, Config
from manufacturing.visual_inspection.data import Pictures
from manufacturing.visual_inspection.learn import FIT, Material, as_tensor, excuses
from manufacturing.visual_inspection.model import EDGE, Inspector, distances
from manufacturing.visual_inspection.synthetic import KINDS, add_defect

DAMAGED = 200
"""Good pictures that get a synthetic defect, about, to see how many are found by a member that does not know them."""
ENOUGH = 30
"""Cells that a mean and a deviation need."""


@dataclass(frozen=True)
class Fitted:
    """The detector, the scores of good parts by members that have not seen them, and what was measured on those."""

    inspector: Inspector
    calibration: Calibration
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Held:
    """A good picture, resized, its name, and the member that has not seen it, nor any other of its part."""

    picture: np.ndarray
    name: str
    member: int
    part: int


def fit(config: Config, train: Pictures) -> Fitted:
    """Fit on `train`: good parts and, for the supervised detector, labelled defects.

    Each good picture is scored by the member that learnt without its fold: these scores calibrate the alarm, as in
    cross-conformal prediction (Vovk, 2015, arXiv:1208.0806). The mean of the members varies less than one of them, so
    the alarm errs towards fewer.
    """
    held = held_parts(config, train)
    rate, parts = config.false_alarms_per_1000 / 1000, np.array([one.part for one in held])
    Calibration(np.zeros(len(held)), parts).threshold(rate)  # refuses a rate that so few cannot promise, untrained
    material = Material.of(config, train, _backbone(config, train))
    detectors: dict[str, nn.Module] = {name: FIT[name](material) for name in config.detectors}
    inspector = Inspector(material.backbone, detectors, config.folds, excuses(material))
    inspector.eval().requires_grad_(False)
    maps = [maps_of(inspector, one.picture) for one in held]
    for member in range(config.folds):
        unseen = [map_ for map_, one in zip(maps, held, strict=True) if one.member == member]
        _standardise(inspector, member, unseen)
    calibration = calibrate(inspector, held, maps)
    threshold = calibration.threshold(rate)
    auroc = auroc_of_synthetic(inspector, held, calibration, config.seed)
    metrics = {"valid_auroc": auroc, "valid_good_parts": calibration.parts, "threshold": threshold}
    return Fitted(inspector, calibration, metrics)


def held_parts(config: Config, train: Pictures) -> list[Held]:
    """The good pictures of `train` that calibrate: all but those that a backbone of one's own has learnt from."""
    fold, part = train.folds(config), train.unit(config.protocol)
    rows = np.flatnonzero((train.defective == 0) & ~_teaches_backbone(config, train))
    return [Held(resized(train.picture[i], config.scale), str(train.name[i]), int(fold[i]), int(part[i])) for i in rows]


def calibrate(inspector: Inspector, held: Sequence[Held], maps: Iterable[Tensor]) -> Calibration:
    """The scores of good pictures, whose raw maps are given, by the members that have not seen them."""
    scores = [_of_member(inspector, map_, one.member) for map_, one in zip(maps, held, strict=True)]
    return Calibration(np.array(scores), np.array([one.part for one in held]))


def auroc_of_synthetic(inspector: Inspector, held: Sequence[Held], calibration: Calibration, seed: int) -> float:
    """Good pictures against the same with synthetic defects, both by members that have not seen them."""
    rng, whole = np.random.default_rng(seed), [one.picture for one in held]
    pairs = [(one, kind) for kind in KINDS for one in held]
    pairs = pairs[:: max(1, len(pairs) // DAMAGED)]
    found = [held_score(inspector, add_defect(one.picture, whole, rng, kind)[0], one.member) for one, kind in pairs]
    y = np.repeat([0, 1], [len(held), len(found)])
    return float(auc(y, np.concatenate([calibration.score, found])))


def maps_of(inspector: Inspector, picture: np.ndarray) -> Tensor:
    """(1, detectors x members + 1, h, w): the raw maps of one resized picture."""
    with torch.no_grad():
        return inspector.maps(as_tensor(picture))


def raw_scores(inspector: Inspector, picture: np.ndarray) -> Tensor:
    """(1, detectors, members): what each detector says of one resized picture."""
    return inspector.raw_scores(inspector.levels(maps_of(inspector, picture)))


def score(inspector: Inspector, picture: np.ndarray) -> float:
    """The score of one resized picture."""
    return float(inspector.score(raw_scores(inspector, picture)))


def held_score(inspector: Inspector, picture: np.ndarray, member: int) -> float:
    """The score of one resized picture by one member."""
    return _of_member(inspector, maps_of(inspector, picture), member)


def _of_member(inspector: Inspector, maps: Tensor, member: int) -> float:
    raw = inspector.raw_scores(inspector.levels(maps))
    return float(inspector.member_scores(raw)[0, member])


def _standardise(inspector: Inspector, member: int, maps: Sequence[Tensor]) -> None:
    """Fit a member's scale to the raw maps of good pictures that it has not seen."""
    own = [one[:, :-1].unflatten(1, inspector.centre.shape)[0, :, member] for one in maps]
    inspector.usual[:, member], inspector.varies[:, member] = _by_distance(own)
    raw = torch.cat([inspector.raw_scores(inspector.levels(one))[..., member] for one in maps])
    inspector.centre[:, member], inspector.spread[:, member] = raw.mean(0), raw.std(0) + 1e-6


def _by_distance(maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and deviation (detectors, EDGE + 1, EDGE + 1) of raw maps (detectors, h, w) by distance from the edges.

    A distance that too few cells have, because parts are small or few, gets those of all cells.
    """
    values = torch.cat([one.flatten(1) for one in maps], dim=1)
    place = torch.cat([distances(*one.shape[1:]).flatten() for one in maps])
    usual, varies = torch.empty(2, len(values), (EDGE + 1) ** 2)
    for distance in range((EDGE + 1) ** 2):
        known = values[:, place == distance]
        known = known if known.shape[1] >= ENOUGH else values
        usual[:, distance], varies[:, distance] = known.mean(1), known.std(1) + 1e-6
    shape = len(values), EDGE + 1, EDGE + 1
    return usual.reshape(shape), varies.reshape(shape)


def _teaches_backbone(config: Config, train: Pictures) -> np.ndarray:
    """bool (pictures,): half of the good parts when the backbone is one's own, or none."""
    part = train.unit(config.protocol)
    half = np.random.default_rng(config.seed).permutation(np.unique(part))[::2]
    return np.isin(part, half) & (train.defective == 0) & (config.backbone == OWN)


def _backbone(config: Config, train: Pictures) -> nn.Module:
    """`own` is an untrained one that learns from good parts themselves, without labels."""
    if config.backbone != OWN:
        return load_backbone(config.backbone, seed=config.seed)
    backbone = load_backbone("random", seed=config.seed)
    pictures = train.rows(np.flatnonzero(_teaches_backbone(config, train))).picture
    pretrain(backbone, pictures, config.pretraining, config.seed)
    return backbone
