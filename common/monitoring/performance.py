"""How right the model was, once labels have come back: metrics with intervals against the bundle's promise.

Labels come late and rarely for everybody (who was declined never repays): judge them with that in mind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import ndtri

from common.evaluation import metrics
from common.monitoring.bins import is_missing, to_numbers
from common.monitoring.check import promised
from common.monitoring.report import Alarm, Measured, MonitorPolicy, Performance

REPEATS = 200  # of the bootstrap: ends of the interval move by about a tenth of its width
MOST_ROWS = 20_000  # the newest; more labels hardly narrow an interval but take seconds


def measure(labels: Any, predicted: Any, baseline: Mapping[str, Any]) -> Performance | None:
    """Metrics of the rows that have both label and prediction, or None when there are none.

    0/1 labels (or booleans) beside numbers within [0, 1] are events and probabilities: AUC, Brier, ECE. Other
    numbers give the mean absolute error, and anything else is a class: accuracy.
    """
    pairs = [(y, p) for y, p in zip(labels, predicted, strict=True) if not is_missing(y) and not is_missing(p)]
    pairs = pairs[-MOST_ROWS:]
    if not pairs:
        return None
    y, p = to_numbers([y for y, _ in pairs]), to_numbers([p for _, p in pairs])
    if np.isnan(y).any() or np.isnan(p).any():
        hits = sum(str(a) == str(b) for a, b in pairs)
        low, high = metrics.wilson(hits, len(pairs))
        return Performance(
            n=len(pairs), task="class", metrics=[_measured("accuracy", hits / len(pairs), low, high, baseline)]
        )
    if set(np.unique(y)) <= {0.0, 1.0} and p.min() >= 0 and p.max() <= 1:
        return Performance(
            n=len(y),
            task="binary",
            metrics=_binary(y, p, baseline),
            observed=float(y.mean()),
            predicted=float(p.mean()),
        )
    errors = np.abs(y - p)
    half = 1.96 * errors.std() / np.sqrt(len(errors))
    value = float(errors.mean())
    return Performance(n=len(y), task="number", metrics=[_measured("mae", value, value - half, value + half, baseline)])


def performance_alarms(performance: Performance | None, policy: MonitorPolicy) -> list[Alarm]:
    """Worse than promised by more than the limit and beyond the interval; events more or fewer than predicted."""
    if performance is None or performance.n < policy.min_labels:
        return []
    alarms = []
    for metric in performance.metrics:
        worse, limit = _worse(metric, policy.drop)
        if worse:
            sentence = (
                f"{metric.name} is {metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}] on {performance.n:,} "
                f"labelled rows, the bundle had {metric.baseline:.3f}."
            )
            alarms.append(
                Alarm(kind="performance", field=metric.name, value=metric.value, limit=limit, sentence=sentence)
            )
    if performance.observed is not None and performance.predicted is not None:
        alarms += _calibration(performance.n, performance.observed, performance.predicted, policy)
    return alarms


def _binary(y: np.ndarray, p: np.ndarray, baseline: Mapping[str, Any]) -> list[Measured]:
    # Of a few labels of one class only the error of the probability means anything.
    names = ("auc", "brier", "ece") if 0 < y.mean() < 1 else ("brier",)
    found = []
    for name in names:
        if len(names) == 1:
            value = metrics.brier(y, p)
            found.append(_measured(name, value, value, value, baseline))
        else:
            m = metrics.bootstrap(y, p, metrics.BINARY[name], repeats=REPEATS)
            found.append(_measured(name, m.value, m.low, m.high, baseline))
    return found


def _measured(name: str, value: float, low: Any, high: Any, baseline: Mapping[str, Any]) -> Measured:
    return Measured(name=name, value=value, low=float(low), high=float(high), baseline=promised(baseline, name))


def _worse(metric: Measured, drop: float) -> tuple[bool, float]:
    """Only for AUC and accuracy (larger is better, in points) and the mean absolute error (relative)."""
    if metric.baseline is None:
        return False, 0.0
    if metric.name == "mae":
        limit = metric.baseline * (1 + drop)
        return metric.value > limit and metric.low > metric.baseline, limit
    limit = metric.baseline - drop
    return metric.name in ("auc", "accuracy") and metric.value < limit and metric.high < metric.baseline, limit


def _calibration(n: int, observed: float, predicted: float, policy: MonitorPolicy) -> list[Alarm]:
    """Calibration in the large; p(1-p) at the mean is at least the variance of Spiegelhalter (1986), so cautious."""
    spread = np.sqrt(max(predicted * (1 - predicted), 1e-12) / n)
    ratio = observed / predicted if predicted else np.inf
    far = ratio >= policy.calibration or ratio <= 1 / policy.calibration
    if not far or abs(observed - predicted) / spread < -ndtri(policy.alpha / 2):
        return []
    sentence = f"{observed:.1%} of {n:,} labelled rows had the event, {predicted:.1%} were predicted."
    limit = policy.calibration if ratio > 1 else 1 / policy.calibration
    return [
        Alarm(
            kind="calibration", field="observed/predicted", value=min(float(ratio), 1e6), limit=limit, sentence=sentence
        )
    ]
