"""Prometheus metrics of one app, in a registry of its own so that several apps can live in one process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

LATENCY_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class ModelState:
    """What a scrape tells about one model."""

    system: str
    version: str
    simulated: bool
    ready: bool
    queued_rows: int


class Metrics:
    """The instruments that requests write to; models are asked for their state at each scrape."""

    def __init__(self, models: Callable[[], Sequence[ModelState]] = tuple) -> None:
        self.registry = CollectorRegistry()
        self.seconds = Histogram(
            "espalier_request_seconds",
            "Time from the request's headers to the end of its answer",
            ["route", "status"],
            buckets=LATENCY_S,
            registry=self.registry,
        )
        self.batch_rows = Histogram(
            "espalier_batch_rows", "Rows the model saw at once", ["system"], buckets=ROWS, registry=self.registry
        )
        self.rejected = Counter(
            "espalier_rejected_requests", "Requests not answered, by reason", ["reason"], registry=self.registry
        )
        self.registry.register(_Models(models))
        ProcessCollector(registry=self.registry)


class _Models(Collector):
    """Read at the scrape, so that a swapped bundle leaves no stale version behind."""

    def __init__(self, models: Callable[[], Sequence[ModelState]]) -> None:
        self.models = models

    def collect(self) -> Iterable[Metric]:
        info = GaugeMetricFamily(
            "espalier_model_info", "1 for a model that is ready", labels=["system", "version", "simulated"]
        )
        queued = GaugeMetricFamily("espalier_queued_rows", "Rows waiting for the model", labels=["system"])
        for model in self.models():
            info.add_metric([model.system, model.version, str(model.simulated).lower()], float(model.ready))
            queued.add_metric([model.system], float(model.queued_rows))
        return [info, queued]
