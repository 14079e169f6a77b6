"""Prometheus gauges of the live monitors, read at the scrape so that a swapped model leaves no stale series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import get_args

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from common.monitoring.online import Monitor
from common.monitoring.report import AlarmKind


class MonitorGauges(Collector):
    """Register one per app: `registry.register(MonitorGauges(lambda: monitors))`."""

    def __init__(self, monitors: Callable[[], Sequence[Monitor]]) -> None:
        self._monitors = monitors

    def collect(self) -> Iterable[Metric]:
        """One family per quantity; a model that was not judged yet has only its retraining flag."""
        drift = GaugeMetricFamily("espalier_drift_psi", "PSI of an input", labels=["system", "field"])
        scores = GaugeMetricFamily("espalier_prediction_psi", "PSI of an answer", labels=["system", "field"])
        missing = GaugeMetricFamily("espalier_missing_share", "Share missing", labels=["system", "field"])
        alarms = GaugeMetricFamily("espalier_alarms", "Fields in alarm, by kind", labels=["system", "kind"])
        rows = GaugeMetricFamily("espalier_monitor_rows", "Rows compared in the window", labels=["system"])
        seen = GaugeMetricFamily("espalier_monitor_seen_rows", "Rows that passed in the window", labels=["system"])
        live = GaugeMetricFamily("espalier_live_metric", "Performance on labelled rows", labels=["system", "metric"])
        flag = GaugeMetricFamily("espalier_retrain_recommended", "1: retraining is recommended", labels=["system"])
        for monitor in self._monitors():
            flag.add_metric([monitor.system], float(monitor.recommended))
            report = monitor.report
            if report is None:
                continue
            rows.add_metric([monitor.system], report.n)
            seen.add_metric([monitor.system], report.seen)
            for field in report.fields:
                (scores if field.role == "prediction" else drift).add_metric([monitor.system, field.name], field.psi)
                missing.add_metric([monitor.system, field.name], field.missing)
            counts = Counter(alarm.kind for alarm in report.alarms)
            for kind in get_args(AlarmKind):
                alarms.add_metric([monitor.system, kind], counts[kind])
            for metric in report.performance.metrics if report.performance else ():
                live.add_metric([monitor.system, metric.name], metric.value)
        return [drift, scores, missing, alarms, rows, seen, live, flag]
