"""What `/metrics` tells of jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.metrics import Counter, Histogram
from prometheus_client.registry import Collector

SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)


class JobGauges(Collector):
    """The jobs of one kind: how many now, how they ended, how long they waited and ran."""

    def __init__(self, kind: str, counts: Callable[[], Mapping[str, int]]) -> None:
        self._kind, self._counts = kind, counts
        self.ended = Counter("espalier_jobs_ended", "Jobs by how they ended", ["kind", "how"], registry=None)
        seconds = Histogram(
            "espalier_job_seconds", "Time jobs waited and ran", ["kind", "what"], buckets=SECONDS, registry=None
        )
        self.waited, self.ran = seconds.labels(kind, "waited"), seconds.labels(kind, "ran")
        self._seconds = seconds

    def collect(self) -> Iterable[Metric]:
        """Read at the scrape."""
        now = GaugeMetricFamily("espalier_jobs", "Jobs and open event streams", labels=["kind", "state"])
        for state, count in self._counts().items():
            now.add_metric([self._kind, state], count)
        return [now, *self.ended.collect(), *self._seconds.collect()]
