"""The report of a detector on the test part, opened here and nowhere else."""

from __future__ import annotations

import time

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from common.bundle import Bundle
from common.data.card import load_card
from common.errors import DataError
from common.evaluation.conformal import threshold_for
from common.evaluation.metrics import auc, bootstrap, wilson
from common.evaluation.page import Section
from common.evaluation.report import Metric, Published, Report, Seconds, Slice
from common.files import sha256
from common.provenance import commit, machine, peak_rss_mb
from common.vision.images import resized
from common.vision.mobilenet import MobileNetV1
from common.vision.segmentation import PixelCounts
from manufacturing.visual_inspection import SYSTEM
from manufacturing.visual_inspection.baselines import gaussian, template
from manufacturing.visual_inspection.config import Config
from manufacturing.visual_inspection.data import GOOD, Pictures, load, seen_before
from manufacturing.visual_inspection.model import Inspector, MemoryBank, Patches, Segmenter
from manufacturing.visual_inspection.train import Fitted, as_tensor

BINS = 1000
FLOOR = {"image_auroc": 0.5, "pixel_auroc": 0.5, "aupro": 0.15}
"""What a random score reaches; its overlap grows with the false-positive rate, so its AUPRO up to 0.3 is 0.15."""


def evaluate(bundle: Bundle) -> tuple[Report, list[Section]]:
    """Metrics, slices by defect and the sections of the page.

    Raises `DataError` when the data or the split is not the one the bundle was trained on.
    """
    started = time.perf_counter()
    config = Config.model_validate(bundle.manifest.config)
    split = load(config).split(config.protocol, config.held_back, config.seed)
    if sha256("\n".join(split["test"].name).encode()) != bundle.json("data.json")["test_rows_sha256"]:
        raise DataError(
            "the test part is not the one that training kept closed",
            where=f"bundle {bundle.path}",
            fix="train the bundle again on this data",
        )
    loaded = time.perf_counter()
    fitted = Fitted(restored(bundle, config), bundle.arrays("calibration.safetensors")["score"], {})
    report = assess(config, fitted, split, "bundle", Seconds(data=loaded - started, train=0.0, evaluate=0.0))
    return report, [_defects(report)]


def restored(bundle: Bundle, config: Config) -> Inspector:
    """The detector in torch from a bundle's weights."""
    arrays = bundle.arrays("weights.safetensors")
    bank = MemoryBank(*arrays["bank.bank"].shape)
    inspector = Inspector(Patches(MobileNetV1()), Segmenter(), bank, config.top)
    inspector.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in arrays.items()})
    return inspector.eval().requires_grad_(False)


def assess(config: Config, fitted: Fitted, split: dict[str, Pictures], preset: str, seconds: Seconds) -> Report:
    """The report of a fitted detector on `split["test"]`; `seconds.evaluate` is measured here."""
    started = time.perf_counter()
    test, inspector = split["test"], fitted.inspector
    known = [resized(picture, config.scale) for picture in split["train"].picture]
    asked = [resized(picture, config.scale) for picture in test.picture]
    threshold = threshold_for(fitted.calibration, config.false_alarms_per_1000 / 1000)
    counts = PixelCounts(_edges([inspector.heat(_look(inspector, p)[1]) for p in known[:: max(1, len(known) // 40)]]))
    of_gaussian, of_template = gaussian(inspector, known), template(known, config.top)
    raw, others = np.empty((len(test), 2)), np.empty((len(test), 2))
    for i, picture in enumerate(asked):
        patches, maps = _look(inspector, picture)
        raw[i], others[i] = inspector.raw_scores(maps)[0], (of_gaussian(patches), of_template(picture))
        height, width = test.mask[i].shape
        heat = Image.fromarray(inspector.heat(maps)[0].numpy()).resize((width, height), Image.Resampling.BILINEAR)
        counts.add(np.asarray(heat), test.mask[i])
    score = inspector.score(torch.from_numpy(raw).float()).numpy().astype(float)

    y = test.defective
    baselines = {
        "segmenter alone": raw[:, 0],
        "memory bank alone": raw[:, 1],
        "Gaussian of patches": others[:, 0],
        "template": others[:, 1],
    }
    metrics = {"image_auroc": bootstrap(y, score, auc), **counts.metrics()}
    metrics["false_alarm_rate"] = rate(score[y == 0] > threshold)
    metrics["detection_rate"] = rate(score[y == 1] > threshold)
    metrics["seen_before_rate"] = rate(seen_before(split["train"], test))
    return Report(
        system=SYSTEM.name,
        preset=preset,
        dataset=test.id,
        protocol=config.protocol,
        simulated=test.simulated,
        data_sha256=test.sha256,
        metrics=metrics,
        floor=FLOOR,
        baselines={name: {"image_auroc": auc(y, value)} for name, value in baselines.items()},
        published=[] if test.simulated else published(test.id, config.protocol),
        slices=_slices(test, score, threshold),
        seconds=seconds.model_copy(update={"evaluate": time.perf_counter() - started}),
        peak_rss_mb=peak_rss_mb(),
        machine=machine(),
        commit=commit(),
    )


def rate(events: np.ndarray) -> Metric:
    """The share of events with its Wilson interval."""
    low, high = wilson(events.sum(), len(events))
    return Metric(value=float(events.mean()), low=float(low), high=float(high), n=len(events))


def published(dataset: str, protocol: str) -> list[Published]:
    """Published numbers of one protocol."""
    return [Published(**entry.model_dump()) for entry in load_card(dataset).published if entry.protocol == protocol]


def _look(inspector: Inspector, picture: np.ndarray) -> tuple[Tensor, Tensor]:
    """Patches and raw maps of one resized picture."""
    with torch.no_grad():
        patches = inspector.patches(as_tensor(picture))
        return patches, inspector.maps_of(patches)


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
        auroc = bootstrap(test.defective[rows], score[rows], auc, repeats=300).model_copy(update={"n": len(own)})
        metrics = {"image_auroc": auroc, "detection_rate": rate(own > threshold)}
        found.append(Slice(name="defect", group=str(kind), metrics=metrics))
    return found


def _defects(report: Report) -> Section:
    rows = [
        {
            "defect": part.group,
            "pictures": part.metrics["image_auroc"].n,
            "image AUROC": part.metrics["image_auroc"].value,
            "found at the promised rate": f"{part.metrics['detection_rate'].value:.1%}",
        }
        for part in report.slices
    ]
    rates = {name: report.metrics[name] for name in ("false_alarm_rate", "seen_before_rate")}
    told = {name: f"{m.value:.1%} [{m.low:.1%}, {m.high:.1%}]" for name, m in rates.items()}
    text = (
        f"Good parts that raise an alarm: {told['false_alarm_rate']}. "
        f"Good test pictures with a near-duplicate in training: {told['seen_before_rate']}."
    )
    return Section("Defects", text, table=rows)
