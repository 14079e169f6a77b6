"""The report of chest X-rays: the test part, corrupted pictures, pictures that are no chests, and where nets look."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_images

from common.bundle import Bundle
from common.evaluation import plots
from common.evaluation.metrics import auc, bootstrap, trivial_floor
from common.evaluation.page import Section
from common.evaluation.plot_style import STYLE, WIDTH
from common.evaluation.report import Metric, Report, Seconds, Slice
from common.files import sha256
from common.progress import bar
from healthcare.disease_diagnosis.config import Config
from healthcare.disease_diagnosis.data import SIDE, Pictures
from healthcare.disease_diagnosis.evaluate import check_closed, coverage_name, decisions, promises, report_of
from healthcare.disease_diagnosis.knowledge import INTENDED_USE
from healthcare.disease_diagnosis.measure import (
    by_finding,
    discrimination,
    promise_kept,
    share,
    slices,
    with_few_labels,
)
from healthcare.disease_diagnosis.pictures import PictureEngine, painted
from healthcare.disease_diagnosis.promise import probability
from healthcare.disease_diagnosis.typical import DONE, Typical

PHOTOGRAPHS = 200
FEW, DRAWS = 60, 100
"""Labelled pictures of the test's own origin that recalibrate, and how often they are drawn."""
SHOWN = 4

CORRUPTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "darker": lambda x: 255 * (x / 255) ** 1.6,
    "lighter": lambda x: 255 * (x / 255) ** 0.6,
    "less contrast": lambda x: 0.5 * x + 64,
    "blurred": lambda x: np.asarray(gaussian_filter(x, (0, 0.8, 0.8))),
    "noisy": lambda x: x + np.random.default_rng(0).normal(0, 10, x.shape),
    "turned by 8 degrees": lambda x: np.stack([_turned(one, 8) for one in x]),
    "closer": lambda x: np.stack([_closer(one) for one in x]),
}


def evaluate_pictures(
    bundle: Bundle, config: Config, data: Pictures, engine: PictureEngine, started: float
) -> tuple[Report, list[Section]]:
    """Metrics, slices and the sections of the page."""
    test = data.split()["test"]
    check_closed(bundle, sha256(test.picture.tobytes()))
    loaded = time.perf_counter()
    raw, evidence = looked_at(engine, test.picture)
    p = probability(raw)
    sets = engine.sites[engine.home].sets(p, config.coverage, np.zeros(len(p), int), np.full(len(p), ""))
    groups = {"finding": by_finding(test.y, test.findings)}
    report = report_of(
        config,
        test,
        protocol="official" if not data.simulated else "holdout",
        metrics=metrics_of(config, test.y, raw, sets, engine.typical, test.picture),
        floor=floor_of(test.y),
        slices=slices(test.y, p, sets, groups) + robustness(engine, test),
        seconds=Seconds(data=loaded - started, train=0.0, evaluate=time.perf_counter() - loaded),
    )
    event = test.findings[1]
    sections = [
        Section("Intended use", INTENDED_USE),
        Section("Discrimination", "How well ill and healthy are told apart.", [plots.roc_pr(test.y, p, event)]),
        Section(
            "Calibration", "Whether a stated probability is what happens.", [plots.calibration(test.y, p, 8, event)]
        ),
        decisions(test.y, p, engine.threshold),
        promises(config, test.y, sets, groups),
        Section("No chests", "Pictures that are refused.", table=refusals(engine.typical, test.picture)),
        Section("Pictures", WHERE, [gallery(test, p, evidence)]),
    ]
    return report, sections


WHERE = (
    "Of each finding two right and two wrong answers, if there are any. Red speaks for disease, blue against it "
    "(Grad-CAM). It shows what the nets use, not where the disease is."
)


def looked_at(engine: PictureEngine, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds (n,) and evidence (n, 7, 7) of pictures uint8 (n, 28, 28), by the exported ensemble."""
    found = []
    with bar("pictures", len(pictures)) as advance:
        for picture in pictures:
            found.append(engine.measure(picture))
            advance(1)
    return np.array([raw for raw, _ in found]), np.stack([evidence for _, evidence in found])


def metrics_of(
    config: Config, y: np.ndarray, raw: np.ndarray, sets: np.ndarray, typical: Typical, pictures: np.ndarray
) -> dict[str, Metric]:
    """All that the report and the benchmark say of the test pictures."""
    p = probability(raw)
    found = {"auc": discrimination(y, p)["auc"], "accuracy": share((p >= 0.5) == y)} | discrimination(y, p)
    found |= promise_kept(coverage_name(config), sets, y)
    count = min(FEW, len(y) // 3)
    orders = [np.random.default_rng([config.seed, draw]).permutation(len(y)) for draw in range(DRAWS)]
    few = with_few_labels(raw, y, np.full(len(y), ""), [(o[:count], o[count:]) for o in orders], config.coverage)
    found |= {f"{name.removesuffix('90').removesuffix('_recalibrated')}_recalibrated": m for name, m in few.items()}
    refused = {row["what"]: row["refused"] for row in refusals(typical, pictures)}
    return found | {"chests_refused": refused.pop("chest X-rays"), "others_refused": pooled(list(refused.values()))}


def pooled(shares: list[Metric]) -> Metric:
    """All of them together."""
    events = [np.arange(one.n) < round(one.value * one.n) for one in shares]
    return share(np.concatenate(events))


def floor_of(y: np.ndarray) -> dict[str, float]:
    """Of saying the more frequent finding, or the base rate, of everybody."""
    known = {name: value for name, value in trivial_floor(y).items() if name in ("auc", "brier")}
    return known | {"accuracy": float(max(y.mean(), 1 - y.mean()))}


def robustness(engine: PictureEngine, test: Pictures) -> list[Slice]:
    """AUC and accuracy of corrupted test pictures."""
    found = []
    for name, corrupt in CORRUPTIONS.items():
        pictures = np.clip(np.round(corrupt(test.picture.astype(float))), 0, 255).astype(np.uint8)
        raw, _ = looked_at(engine, pictures)
        metrics = {"auc": bootstrap(test.y, raw, auc, repeats=200), "accuracy": share((raw > 0) == test.y)}
        metrics["refused"] = share(engine.typical.refused(pictures))
        found.append(Slice(name="corruption", group=name, metrics=metrics))
    return found


def refusals(typical: Typical, chests: np.ndarray) -> list[dict[str, Any]]:
    """How many are refused of chests uint8 (n, 28, 28), of the same turned and inverted, and of photographs."""
    kinds = {"chest X-rays": chests} | {name: turn(chests) for name, turn in DONE.items()}
    kinds |= {"photographs": photographs(PHOTOGRAPHS)}
    kinds |= {"noise": np.random.default_rng(0).integers(0, 256, chests.shape, dtype=np.uint8)}
    return [{"what": name, "refused": share(typical.refused(pictures))} for name, pictures in kinds.items()]


def photographs(count: int) -> np.ndarray:
    """uint8 (count, 28, 28): parts of the two photographs that scikit-learn ships."""
    rng, found = np.random.default_rng(0), []
    whole = [Image.fromarray(picture).convert("L") for picture in load_sample_images().images]
    for number in range(count):
        picture = whole[number % len(whole)]
        side = int(rng.integers(60, min(picture.size)))
        left, top = int(rng.integers(0, picture.width - side + 1)), int(rng.integers(0, picture.height - side + 1))
        part = picture.crop((left, top, left + side, top + side))
        found.append(np.asarray(part.resize((SIDE, SIDE), Image.Resampling.BICUBIC)))
    return np.stack(found)


@rc_context(STYLE)
def gallery(test: Pictures, p: np.ndarray, evidence: np.ndarray) -> Figure:
    """Pictures with the evidence painted over, right answers above wrong ones."""
    right = (p >= 0.5) == test.y
    chosen = [np.flatnonzero((right == good) & (test.y == label))[:2] for good in (True, False) for label in (0, 1)]
    rows = np.concatenate(chosen)
    figure = Figure(figsize=(WIDTH, 1.9 * max(1, -(-len(rows) // SHOWN))), dpi=100, layout="constrained")
    for place, i in enumerate(rows):
        axis = figure.add_subplot(-(-len(rows) // SHOWN), SHOWN, place + 1)
        axis.imshow(painted(test.picture[i], evidence[i]))
        axis.set_title(f"{test.findings[test.y[i]]}\n{'right' if right[i] else 'wrong'}, p = {p[i]:.2f}", fontsize=8)
        axis.set_axis_off()
    figure.set_label("Chest X-rays with the evidence for pneumonia in red and against it in blue.")
    return figure


def _turned(picture: np.ndarray, degrees: float) -> np.ndarray:
    image = Image.fromarray(picture.astype(np.float32))
    return np.asarray(image.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=float(picture.mean())))


def _closer(picture: np.ndarray) -> np.ndarray:
    image = Image.fromarray(picture.astype(np.float32))
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=(2, 2, SIDE - 2, SIDE - 2)))
