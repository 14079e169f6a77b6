"""The report and the benchmark of chest X-rays: the test part, corrupted pictures, pictures that are no chests, and
where nets look."""

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
from sklearn.linear_model import LogisticRegression

from common.bundle import Bundle
from common.data.card import published
from common.errors import ModelUnavailable
from common.evaluation.page import Section
from common.evaluation.plot_style import STYLE, WIDTH
from common.evaluation.report import Metric, Report, Seconds, Slice
from common.progress import bar, console
from common.vision.images import png, to_base64
from healthcare.disease_diagnosis.config import Config
from healthcare.disease_diagnosis.data import SIDE, Pictures
from healthcare.disease_diagnosis.evaluate import SEVERAL, coverage_name, report_of, sections_of
from healthcare.disease_diagnosis.measure import (
    floor_of,
    measured,
    promise_kept,
    share,
    slices,
    with_few_labels,
)
from healthcare.disease_diagnosis.pictures import PictureEngine, painted
from healthcare.disease_diagnosis.promise import chances
from healthcare.disease_diagnosis.serve import DiagnosisPredictor
from healthcare.disease_diagnosis.train import save_pictures
from healthcare.disease_diagnosis.typical import DONE, Typical

PHOTOGRAPHS = 200
FEW, DRAWS = 60, 100
"""Labelled pictures of the test's own origin that recalibrate, and how often they are drawn."""
SHOWN = 4
TIMED = 50
"""Requests, after some to warm up."""
WHERE = (
    "Of each finding two right and two wrong answers, if there are any. Red speaks for disease, blue against it "
    "(Grad-CAM). It shows what the nets use, not where the disease is."
)
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
    bundle.check_test_rows(test.picture.tobytes())
    loaded = time.perf_counter()
    raw, evidence = looked_at(engine, test.picture)
    values = seen(config, engine, test, raw)
    seconds = Seconds(data=loaded - started, train=0.0, evaluate=time.perf_counter() - loaded)
    report = report_of(test, seconds=seconds, **values)
    p = chances(raw[:, None])[:, 1]
    own = [part for part in report.slices if part.name == "finding"]
    return report, [
        *sections_of(config, test.y, p, test.findings[1], 8, report.metrics, own),
        Section("No chests", "Pictures that are refused.", table=refusals(engine.typical, test.picture)),
        Section("Pictures", WHERE, [gallery(test, p, evidence)]),
    ]


def bench_pictures(config: Config, preset: str, data: Pictures, loaded: float) -> Report:
    """Train, export, and measure what is exported; simpler and pretrained models stand beside it."""
    from healthcare.disease_diagnosis.fit_pictures import fit_ensemble, log_odds  # needs torch
    from healthcare.disease_diagnosis.network import Ensemble

    started = time.perf_counter()
    split = data.split()
    train, test = split["train"], split["test"]
    ensemble = fit_ensemble(config, train)
    engine: PictureEngine = DiagnosisPredictor.load(save_pictures(config, data, split, ensemble)).engine
    trained = time.perf_counter()
    raw, _ = looked_at(engine, test.picture)
    values = seen(config, engine, test, raw)
    values["metrics"]["request_ms"] = request_ms(engine, test.picture)
    pixels = [part.picture.reshape(len(part), -1) / 255 for part in (train, test)]
    linear = LogisticRegression(C=0.01, max_iter=1000).fit(pixels[0], train.y)
    rivals = {"logistic regression on pixels": linear.decision_function(pixels[1])}
    rivals["one net"] = log_odds(Ensemble([ensemble.nets[0]]).eval(), test.picture)
    frozen = config.picture.model_copy(update={"model": "transfer", "nets": 1})
    try:
        transfer = fit_ensemble(config.model_copy(update={"picture": frozen}), train)
        rivals[f"frozen {frozen.backbone}, linear layer"] = log_odds(transfer, test.picture)
    except ModelUnavailable as error:
        console.print(f"no baseline of transfer learning: {error}")
    found = {name: measured(test.y, _whole(scores), ("auc", "accuracy"), 1) for name, scores in rivals.items()}
    return report_of(
        test,
        preset=preset,
        baselines={name: {key: metric.value for key, metric in one.items()} for name, one in found.items()},
        published=[] if data.simulated else published(data.id, "official"),
        seconds=Seconds(data=loaded, train=trained - started, evaluate=time.perf_counter() - trained),
        **values,
    )


def seen(config: Config, engine: PictureEngine, test: Pictures, raw: np.ndarray) -> dict[str, Any]:
    """What the report and the benchmark say of the test pictures alike."""
    y, p, nobody = test.y, chances(raw[:, None]), np.full(len(raw), "")
    sets = engine.sites[engine.home].sets(p, config.coverage, np.zeros(len(p), int), nobody)
    metrics = measured(y, _whole(raw), SEVERAL) | promise_kept(coverage_name(config), sets, y)
    count = min(FEW, len(y) // 3)
    orders = [np.random.default_rng([config.seed, draw]).permutation(len(y)) for draw in range(DRAWS)]
    few = with_few_labels(raw[:, None], y, nobody, [(o[:count], o[count:]) for o in orders], config.coverage)
    metrics |= {f"{name.removesuffix('90').removesuffix('_recalibrated')}_recalibrated": m for name, m in few.items()}
    refused = {row["what"]: row["refused"] for row in refusals(engine.typical, test.picture)}
    metrics["chests_refused"] = refused.pop("chest X-rays")
    metrics["others_refused"] = share(
        np.concatenate([np.arange(one.n) < round(one.value * one.n) for one in refused.values()])
    )
    return {
        "protocol": "holdout" if test.simulated else "official",
        "metrics": metrics,
        "floor": floor_of(y, metrics),
        "slices": slices(y, p, {"finding": np.array(test.findings)[y]}, sets) + robustness(engine, test),
    }


def looked_at(engine: PictureEngine, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds (n,) and evidence (n, 7, 7) of pictures uint8 (n, 28, 28), by the exported ensemble."""
    found = []
    with bar("pictures", len(pictures)) as advance:
        for picture in pictures:
            found.append(engine.measure(picture))
            advance(1)
    return np.array([raw for raw, _ in found]), np.stack([evidence for _, evidence in found])


def _whole(raw: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.arange(len(raw)), chances(raw[:, None]))]


def request_ms(engine: PictureEngine, pictures: np.ndarray) -> Metric:
    """Milliseconds of a whole request on one core, PNG to answer with heat map: median and its interval."""
    requests = [engine.request(picture=to_base64(png(one)), any_picture=True) for one in pictures[: TIMED + 5]]
    took = []
    for request in requests:
        began = time.perf_counter()
        engine.answers([request])
        took.append(1000 * (time.perf_counter() - began))
    times = np.array(took[5:])
    draws = [np.median(rows) for rows in np.random.default_rng(0).choice(times, (300, len(times)))]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Metric(value=float(np.median(times)), low=float(low), high=float(high), n=len(times))


def robustness(engine: PictureEngine, test: Pictures) -> list[Slice]:
    """AUC and accuracy of corrupted test pictures."""
    found = []
    for name, corrupt in CORRUPTIONS.items():
        pictures = np.clip(np.round(corrupt(test.picture.astype(float))), 0, 255).astype(np.uint8)
        raw, _ = looked_at(engine, pictures)
        metrics = measured(test.y, _whole(raw), ("auc", "accuracy"), 200)
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
    high = -(-len(rows) // SHOWN)
    figure = Figure(figsize=(WIDTH, 1.9 * max(1, high)), dpi=100, layout="constrained")
    for place, i in enumerate(rows):
        axis = figure.add_subplot(high, SHOWN, place + 1)
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
