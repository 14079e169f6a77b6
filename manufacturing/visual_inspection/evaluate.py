"""The report of a detector on the test part, opened here and nowhere else."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from common.bundle import Bundle
from common.data.card import published
from common.errors import DataError
from common.evaluation.conformal import Calibration
from common.evaluation.metrics import auc, bootstrap, f1, f1_max, wilson
from common.evaluation.page import Section
from common.evaluation.plots import score_distribution
from common.evaluation.report import Metric, Report, Seconds, Slice
from common.progress import bar
from common.provenance import commit, machine, peak_rss_mb
from common.vision.backbones import load_backbone
from common.vision.images import resized
from common.vision.segmentation import PixelCounts
from manufacturing.visual_inspection import SYSTEM
from manufacturing.visual_inspection.config import OWN, Config
from manufacturing.visual_inspection.data import GOOD, PUBLISHED, Pictures, load, seen_before
from manufacturing.visual_inspection.detectors import Excuses
from manufacturing.visual_inspection.fit import Fitted, maps_of, raw_scores
from manufacturing.visual_inspection.gallery import gallery
from manufacturing.visual_inspection.learn import EMPTY, channels_of
from manufacturing.visual_inspection.model import Inspector

BINS = 1000
PROMISES = (10, 20, 50, 100, 200)
"""False alarms per 1,000 good parts."""
RANDOM = {"image_auroc": 0.5, "pixel_auroc": 0.5, "aupro": 0.15}
"""What a random score reaches; its overlap grows with the false-positive rate, so its AUPRO up to 0.3 is 0.15."""


def evaluate(bundle: Bundle) -> tuple[Report, list[Section]]:
    """Metrics, slices by defect and the sections of the page.

    Raises `DataError` when the data or the split is not the one the bundle was trained on.
    """
    started = time.perf_counter()
    config = Config.model_validate(bundle.manifest.config)
    data = load(config)
    split = data.split(config.protocol, config.seed)
    bundle.check_test_rows("\n".join(split["test"].name).encode())
    if data.sha256 != bundle.json("data.json")["cards"][0]["sha256"]:
        raise DataError(
            "the pictures have changed since training", where=data.id, fix="bring them back, or train the bundle again"
        )
    if len(set(split["test"].defective)) < 2:
        raise DataError("the test part needs good parts and defective ones", where=split["test"].id)
    loaded = time.perf_counter()
    fitted = Fitted(restored(bundle, config), Calibration.of(bundle.arrays("calibration.safetensors")), {})
    seen = look(config, fitted, split)
    seconds = Seconds(data=loaded - started, train=0.0, evaluate=time.perf_counter() - loaded)
    report = assess(config, fitted, split, seen, "bundle", seconds)
    return report, [_promises(fitted, split["test"], seen), _pictures(split["test"], seen)]


def restored(bundle: Bundle, config: Config) -> Inspector:
    """The detector in torch from a bundle's weights."""
    weights = {name: torch.from_numpy(value.copy()) for name, value in bundle.arrays("weights.safetensors").items()}
    backbone = load_backbone("random" if config.backbone == OWN else config.backbone, pretrained=False)
    detectors: dict[str, nn.Module] = {name: EMPTY[name](backbone, config) for name in config.detectors}
    inspector = Inspector(backbone, detectors, config.folds, Excuses(channels_of(backbone)))
    inspector.load_state_dict(weights)
    return inspector.eval().requires_grad_(False)


@dataclass(frozen=True)
class Seen:
    """What a detector said of the test pictures: scores (n,), a heat map each, the promise's threshold, the pixels'
    counts, and the scores (n,) of single detectors by name."""

    score: np.ndarray
    heat: list[np.ndarray]
    threshold: float
    pixels: PixelCounts
    alone: dict[str, np.ndarray]


def look(config: Config, fitted: Fitted, split: dict[str, Pictures], rivals: Fitted | None = None) -> Seen:
    """Look at `split["test"]`; each detector, and each of `rivals`, is also noted alone."""
    test, inspector = split["test"], fitted.inspector
    known = [resized(picture, config.scale) for picture in split["train"].rows_of(GOOD).picture]
    pixels = PixelCounts(_edges([_heat(inspector, p) for p in known[:: max(1, len(known) // 40)]]))
    score, heats = [], []
    alone: dict[str, list[float]] = defaultdict(list)
    with bar(f"{test.id} {config.protocol}", len(test)) as advance:
        for picture, mask in zip(test.picture, test.mask, strict=True):
            ready = resized(picture, config.scale)
            levels = inspector.levels(maps_of(inspector, ready))
            raw, heat = inspector.raw_scores(levels), inspector.heat(levels)[0].numpy()
            score.append(float(inspector.score(raw)[0]))
            heats.append(heat)
            for name, value in _alone(inspector, raw):
                alone[f"{name} alone"].append(value)
            for name, value in _alone(rivals.inspector, raw_scores(rivals.inspector, ready)) if rivals else ():
                alone[name].append(value)
            if mask is not None:
                size = mask.shape[1], mask.shape[0]
                pixels.add(np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR)), mask)
            advance(1)
    threshold = fitted.calibration.threshold(config.false_alarms_per_1000 / 1000)
    return Seen(np.array(score), heats, threshold, pixels, {name: np.array(v) for name, v in alone.items()})


def assess(
    config: Config, fitted: Fitted, split: dict[str, Pictures], seen: Seen, preset: str, seconds: Seconds
) -> Report:
    """The report of a fitted detector on `split["test"]`."""
    test, y, score, threshold = split["test"], split["test"].defective, seen.score, seen.threshold
    marked = np.array([mask is not None for mask in test.mask])
    any_marked = any(mask is not None and mask.any() for mask in test.mask)
    metrics = {"image_auroc": bootstrap(y, score, auc, groups=test.tile)}
    metrics |= seen.pixels.metrics(test.tile[marked]) if any_marked else {}
    metrics["f1"] = bootstrap(y, (score > threshold).astype(float), f1, groups=test.tile)
    metrics["f1_max"] = bootstrap(y, score, f1_max, groups=test.tile)
    metrics["false_alarm_rate"] = rate(score[y == 0] > threshold, test.tile[y == 0])
    metrics["detection_rate"] = rate(score[y == 1] > threshold, test.tile[y == 1])
    metrics["seen_before_rate"] = rate(seen_before(split["train"], test), test.tile[y == 0])
    return Report(
        system=SYSTEM.name,
        preset=preset,
        dataset=test.id,
        protocol=config.protocol,
        simulated=test.simulated,
        data_sha256=test.sha256,
        metrics=metrics,
        floor=_floor(test, metrics),
        baselines={name: {"image_auroc": auc(y, values)} for name, values in seen.alone.items()},
        published=published(test.id, config.protocol) if test.id == PUBLISHED else [],
        slices=_slices(test, score, threshold),
        seconds=seconds,
        peak_rss_mb=peak_rss_mb(),
        machine=machine(),
        commit=commit(),
    )


def _floor(test: Pictures, metrics: dict[str, Metric]) -> dict[str, float]:
    """What a random score reaches; an alarm for everything has the best F1 of those that know nothing."""
    everything = np.ones(len(test))
    image = f1(test.defective, everything)
    floor = RANDOM | {"f1": image, "f1_max": image}
    if "pixel_f1_max" in metrics:
        marked, seen = np.sum([(mask.sum(), mask.size) for mask in test.mask if mask is not None], axis=0)
        floor["pixel_f1_max"] = 2 * marked / (marked + seen)
    return {name: float(value) for name, value in floor.items() if name in metrics}


def rate(events: np.ndarray, parts: np.ndarray) -> Metric:
    """The share of events, bool (n,), with its Wilson interval as if each of `parts`, (n,), had one picture."""
    count = len(np.unique(parts))
    low, high = wilson(events.mean() * count, count)
    return Metric(value=float(events.mean()), low=float(low), high=float(high), n=len(events))


def _heat(inspector: Inspector, picture: np.ndarray) -> Tensor:
    return inspector.heat(inspector.levels(maps_of(inspector, picture)))


def _alone(inspector: Inspector, raw: Tensor) -> Iterator[tuple[str, float]]:
    """Each detector and what it alone says, the mean of its members, of raw scores (1, detectors, members)."""
    scores = ((raw - inspector.centre) / inspector.spread)[0].mean(1)
    yield from zip(inspector.detectors, scores.tolist(), strict=True)


def _edges(maps: list[Tensor]) -> np.ndarray:
    """Score bins: quantiles of what good parts show, finer upwards, and wider steps beyond that."""
    normal = np.concatenate([one.numpy().ravel() for one in maps])
    inner = np.unique(np.quantile(normal, 1 - np.geomspace(1, 1 / len(normal), BINS // 2)))
    return np.append(inner, inner[-1] + np.geomspace(0.01, 100, BINS // 2))


def _slices(test: Pictures, score: np.ndarray, threshold: float) -> list[Slice]:
    """Every kind of defect against all good parts."""
    found = []
    good = test.kind == GOOD
    for kind in np.unique(test.kind[~good]):
        rows = good | (test.kind == kind)
        own = score[test.kind == kind]
        auroc = bootstrap(test.defective[rows], score[rows], auc, repeats=300, groups=test.tile[rows])
        found_rate = rate(own > threshold, test.tile[test.kind == kind])
        metrics = {"image_auroc": auroc.model_copy(update={"n": len(own)}), "detection_rate": found_rate}
        found.append(Slice(name="defect", group=str(kind), metrics=metrics))
    return found


def _promises(fitted: Fitted, test: Pictures, seen: Seen) -> Section:
    """Every promise against what happened, since the threshold can be changed at run time."""
    good, bad = (np.flatnonzero(test.defective == label) for label in (0, 1))
    rows = []
    for per_1000 in PROMISES:
        if per_1000 / 1000 >= fitted.calibration.lowest_rate:
            threshold = fitted.calibration.threshold(per_1000 / 1000)
            false, found = (rate(seen.score[some] > threshold, test.tile[some]) for some in (good, bad))
            rows.append(
                {
                    "promised per 1,000": per_1000,
                    "threshold": threshold,
                    "false alarms": f"{false.value:.1%} [{false.low:.1%}, {false.high:.1%}]",
                    "defects found": f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}]",
                }
            )
    figure = score_distribution(test.defective, seen.score, event="defect", cutoff=seen.threshold)
    text = f"Thresholds come from {fitted.calibration.parts} good parts, each scored by a member that has not seen it; "
    text += "rates from the test part, their intervals as if each part had one picture."
    return Section("Promises", text, figures=[figure], table=rows)


def _pictures(test: Pictures, seen: Seen) -> Section:
    text = (
        "Of every kind the picture with the lowest, the middle and the highest score, each with its heat map. "
        "A green outline is the true mask; a score in bold raises an alarm."
    )
    return Section("Pictures", text, figures=[gallery(test, seen.score, seen.heat, seen.threshold)])
