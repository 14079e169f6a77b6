"""One window of records against the reference of a bundle: `check_window`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from common.errors import DataError
from common.evaluation.report import Metric
from common.monitoring.bins import FieldBins, Layout, WindowCounts
from common.monitoring.drift import benjamini_hochberg, chi_square, grouped_ks, psi
from common.monitoring.quality import is_constant, quality_alarms
from common.monitoring.report import PREDICTIONS, Alarm, FieldReport, MonitorPolicy, MonitorReport, Performance

STABLE, SHIFTED = 0.1, 0.25  # as in common.evaluation.stability, whose pandas a service does without
Reference = Mapping[str, Mapping[str, Any]]


def check_window(
    reference: Reference,
    frame: Any,
    policy: MonitorPolicy | None = None,
    *,
    predictions: Collection[str] = PREDICTIONS,
    labels: Any = None,
    predicted: Any = None,
    baseline: Mapping[str, Any] | None = None,
    system: str = "",
    version: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> MonitorReport:
    """Compare a DataFrame, a mapping of columns or a list of records with a bundle's `reference.json`.

    `predictions` names the fields of the reference that are answers. With `labels` of shape (n,), missing where
    none has come back, and `predicted` (probability, class or number, shape (n,)) performance is judged too,
    against `baseline`, a bundle's `metrics.json`. Raises `DataError` without rows or for a broken reference.
    """
    policy = policy or MonitorPolicy()
    layout = Layout(reference, policy.skip)
    if isinstance(frame, Sequence):
        frame = columns_of(frame, [field.name for field in layout.fields])
    n = _rows(frame)
    if not n:
        raise DataError("no rows to compare", got=0, expected="at least one row")
    report = judge(layout, layout.count(frame, n), policy, predictions).model_copy(
        update={"system": system, "version": version, "since": since, "until": until}
    )
    if labels is None or predicted is None:
        return report
    from common.monitoring.performance import measure, performance_alarms

    performance = measure(labels, predicted, baseline or {})
    return with_performance(report, performance, performance_alarms(performance, policy))


def judge(
    layout: Layout,
    window: WindowCounts,
    policy: MonitorPolicy,
    predictions: Collection[str] = PREDICTIONS,
    seen: int | None = None,
) -> MonitorReport:
    """The report of counted rows; this is all that a service runs every few seconds."""
    parts = [window.counts[place] for place in layout.places]
    tests = [_test(bins, counts) for bins, counts in zip(layout.fields, parts, strict=True)]
    adjusted = benjamini_hochberg([p for _, p in tests]) if tests else np.array([])
    fields = [
        _field(bins, counts, test, float(p), bins.name in predictions, is_constant(bins, counts, low, high))
        for bins, counts, test, p, low, high in zip(
            layout.fields, parts, tests, adjusted, window.lows, window.highs, strict=True
        )
    ]
    judged = window.n >= policy.min_rows
    alarms = (
        [*_drift(fields, window.n, policy), *quality_alarms(layout.fields, parts, window, policy)] if judged else []
    )
    return MonitorReport(
        n=window.n, seen=window.n if seen is None else seen, judged=judged, fields=fields, alarms=alarms
    )


def with_performance(report: MonitorReport, performance: Performance | None, alarms: list[Alarm]) -> MonitorReport:
    """The same report with live performance; labels are judged however few rows the window has."""
    return report.model_copy(update={"performance": performance, "alarms": [*report.alarms, *alarms]})


def columns_of(rows: Sequence[Mapping[str, Any]], names: Collection[str]) -> dict[str, list[Any]]:
    """Columns of records that need not have the same keys; a key that no record has is no column."""
    return {name: [row.get(name) for row in rows] for name in names if any(name in row for row in rows)}


def promised(baseline: Mapping[str, Any], metric: str) -> float | None:
    """What the bundle scored in a metric: `valid_<metric>` or `<metric>` of its `metrics.json`."""
    for name in (f"valid_{metric}", metric):
        value = baseline.get(name)
        if isinstance(value, Metric):
            return value.value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


def _test(bins: FieldBins, counts: np.ndarray) -> tuple[float, float]:
    """Statistic and p of the known values; the missing have an alarm of their own."""
    test = chi_square if bins.levels is not None else grouped_ks
    return test(bins.reference, counts[:-2])


def _field(
    bins: FieldBins, counts: np.ndarray, test: tuple[float, float], adjusted: float, prediction: bool, constant: bool
) -> FieldReport:
    rows = max(int(counts[:-1].sum()), 1)
    shares = counts[:-1] / rows
    moved = psi(np.append(bins.shares, bins.missing), shares)
    return FieldReport(
        name=bins.name,
        role="prediction" if prediction else "input",
        psi=moved,
        verdict="stable" if moved < STABLE else "moving" if moved <= SHIFTED else "shifted",
        test="ks" if bins.levels is None else "chi2",
        statistic=test[0],
        p=test[1],
        adjusted_p=adjusted,
        missing=float(shares[-1]),
        out_of_range=float(counts[-1] / rows) if bins.has_range else None,
        unseen=float(shares[-2]) if bins.complete else None,
        constant=constant,
        shares=shares[:-1].tolist(),
    )


def _drift(fields: list[FieldReport], n: int, policy: MonitorPolicy) -> list[Alarm]:
    alarms = []
    for field in fields:
        if field.psi >= policy.psi and field.adjusted_p <= policy.alpha:
            name = "KS" if field.test == "ks" else "chi-square"
            sentence = (
                f"{field.name} moved: PSI {field.psi:.2f} over {n:,} rows (limit {policy.psi:g}), {name} "
                f"{field.statistic:.3g}, p {field.adjusted_p:.1g} after correction for {len(fields)} fields."
            )
            kind = "prediction_drift" if field.role == "prediction" else "input_drift"
            alarms.append(Alarm(kind=kind, field=field.name, value=field.psi, limit=policy.psi, sentence=sentence))
    return sorted(alarms, key=lambda alarm: -alarm.value)


def _rows(frame: Any) -> int:
    if hasattr(frame, "columns"):
        return len(frame)
    return max((len(column) for column in frame.values()), default=0)
