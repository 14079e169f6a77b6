"""Prometheus metrics of the audit, read at the scrape."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from common.audit.recorder import Recorder

DELAYS_S = (60, 3600, 21_600, 86_400, 7 * 86_400, 30 * 86_400, 90 * 86_400, 365 * 86_400)


class AuditGauges(Collector):
    """Register one per app."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def collect(self) -> Iterable[Metric]:
        """Rows waiting, written, dropped and lost, and the age of the oldest that waits."""
        it = self._recorder
        gauges = (
            ("espalier_audit_queued_rows", "Decided rows not yet on record", it.waiting),
            ("espalier_audit_lag_seconds", "Age of the oldest decision not yet on record", it.lag_s),
        )
        counters = (
            ("espalier_audit_written_rows", "Decided rows put on record", it.written),
            ("espalier_audit_dropped_rows", "Decided rows not put on record", it.dropped + it.lost),
        )
        yield from (GaugeMetricFamily(name, text, value=value) for name, text, value in gauges)
        yield from (CounterMetricFamily(name, text, value=value) for name, text, value in counters)
