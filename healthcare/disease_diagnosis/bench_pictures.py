"""The benchmark of chest X-rays: the official split, nets from scratch, one core for the answers."""

from __future__ import annotations

import time

import numpy as np
from sklearn.linear_model import LogisticRegression

from common.evaluation.metrics import auc
from common.evaluation.report import Metric, Report, Seconds
from common.vision.images import png, to_base64
from healthcare.disease_diagnosis.config import Config
from healthcare.disease_diagnosis.data import Pictures
from healthcare.disease_diagnosis.evaluate import published, report_of
from healthcare.disease_diagnosis.evaluate_pictures import floor_of, looked_at, metrics_of, robustness
from healthcare.disease_diagnosis.fit_pictures import fit_ensemble, log_odds
from healthcare.disease_diagnosis.measure import by_finding, slices
from healthcare.disease_diagnosis.network import Ensemble
from healthcare.disease_diagnosis.pictures import PictureEngine
from healthcare.disease_diagnosis.promise import probability
from healthcare.disease_diagnosis.serve import DiagnosisPredictor
from healthcare.disease_diagnosis.train import save_pictures

TIMED = 50
"""Requests, after some to warm up."""


def bench_pictures(config: Config, preset: str, data: Pictures, loaded: float) -> Report:
    """Train, export, and measure what is exported; a net alone and a logistic regression on pixels stand beside it."""
    started = time.perf_counter()
    split = data.split()
    ensemble = fit_ensemble(config, split["train"])
    bundle = save_pictures(config, data, split, ensemble)
    trained = time.perf_counter()
    engine: PictureEngine = DiagnosisPredictor.load(bundle).engine
    test = split["test"]
    raw, _ = looked_at(engine, test.picture)
    p = probability(raw)
    sets = engine.sites[engine.home].sets(p, config.coverage, np.zeros(len(p), int), np.full(len(p), ""))
    groups = {"finding": by_finding(test.y, test.findings)}
    metrics = metrics_of(config, test.y, raw, sets, engine.typical, test.picture)
    return report_of(
        config,
        test,
        preset=preset,
        protocol="official" if not data.simulated else "holdout",
        metrics=metrics | {"request_ms": request_ms(engine, test.picture)},
        floor=floor_of(test.y),
        baselines=_baselines(split, ensemble),
        published=[] if data.simulated else published(data.id, "official"),
        slices=slices(test.y, p, sets, groups) + robustness(engine, test),
        seconds=Seconds(data=loaded, train=trained - started, evaluate=time.perf_counter() - trained),
    )


def request_ms(engine: PictureEngine, pictures: np.ndarray) -> Metric:
    """Milliseconds of a whole request on one core, PNG to answer with heat map: median and its interval."""
    requests = [engine.request(picture=to_base64(png(one)), any_picture=True) for one in pictures[: TIMED + 5]]
    took = []
    for request in requests:
        began = time.perf_counter()
        engine.answers([request])
        took.append(1000 * (time.perf_counter() - began))
    times = np.array(took[5:])
    low, high = np.quantile(
        [np.median(rows) for rows in np.random.default_rng(0).choice(times, (300, len(times)))], [0.025, 0.975]
    )
    return Metric(value=float(np.median(times)), low=float(low), high=float(high), n=len(times))


def _baselines(split: dict[str, Pictures], ensemble: Ensemble) -> dict[str, dict[str, float]]:
    train, test = split["train"], split["test"]
    pixels = {name: part.picture.reshape(len(part), -1) / 255 for name, part in split.items()}
    linear = LogisticRegression(C=0.01, max_iter=1000).fit(pixels["train"], train.y)
    alone = log_odds(Ensemble([ensemble.nets[0]]).eval(), test.picture)
    scores = {"logistic regression on pixels": linear.decision_function(pixels["test"]), "one net": alone}
    return {
        name: {"auc": auc(test.y, raw), "accuracy": float(((raw > 0) == test.y).mean())} for name, raw in scores.items()
    }
