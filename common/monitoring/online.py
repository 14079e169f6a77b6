"""Watching inside a service: the hot path appends, a thread of its own counts, judges and publishes.

Cost on the hot path is one lock, one random number and one append. The queue between is bounded (the oldest
fall out), and when more than `rows_per_s` rows arrive each is kept with the probability that gives about so many:
a fair coin, so that no client's rhythm can hide behind a stride. Busy seconds therefore weigh less than their
traffic. What is kept of a window is counts: memory does not depend on traffic.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import random, sample
from typing import TYPE_CHECKING, Any

from common.monitoring.bins import Layout
from common.monitoring.report import PREDICTIONS, MonitorPolicy, MonitorReport
from common.monitoring.retrain import RetrainDecision, RetrainPolicy, RetrainState, consider, run_hook
from common.monitoring.ring import Ring
from common.monitoring.run import MonitorRun, answer_fields, with_ranges

if TYPE_CHECKING:
    from common.bundle import Bundle

logger = logging.getLogger("espalier.monitoring")

CHUNK_ROWS = 64  # counted at once: about half a millisecond in which no request runs, then the thread steps back
STEP_BACK_S = 0.001


@dataclass(frozen=True)
class OnlineLimits:
    """Times in seconds. A window reaches back `window_s`, and further up to `longest_s` until it has rows enough."""

    window_s: float = 3600.0
    longest_s: float = 86_400.0
    slice_s: float = 60.0
    judge_s: float = 10.0
    fold_s: float = 1.0
    rows_per_s: int = 200
    queue_rows: int = 2048
    labels: int = 5000
    history: int = 240


class Monitor:
    """Watches one live model; give each bundle its own, since its reference is its own.

    `start()` runs the thread; without it call `fold()` and `judge()` yourself (tests, notebooks). `observe`,
    `observe_many` and `observe_label` may be called from any thread and never raise. `on_decision` is told, in the
    monitor's thread, when retraining is recommended or no longer is.
    """

    def __init__(
        self,
        reference: Mapping[str, Mapping[str, Any]],
        *,
        predictions: Collection[str] = PREDICTIONS,
        system: str = "",
        version: str = "",
        policy: MonitorPolicy | None = None,
        retrain: RetrainPolicy | None = None,
        baseline: Mapping[str, Any] | None = None,
        limits: OnlineLimits | None = None,
        on_decision: Callable[[RetrainDecision], None] = lambda decision: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.system, self.version, self._predictions = system, version, tuple(predictions)
        self.policy, self.retrain = policy or MonitorPolicy(), retrain or RetrainPolicy()
        self.limits = limits or OnlineLimits()
        self._reference = {name: dict(histogram) for name, histogram in reference.items()}
        self._layout = Layout(reference, self.policy.skip)
        self._baseline, self._on_decision, self._clock = baseline or {}, on_decision, clock
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Any, Any]] = deque(maxlen=self.limits.queue_rows)
        self._labels: deque[tuple[Any, Any]] = deque(maxlen=self.limits.labels)
        self._seen, self._keep = 0, 1.0
        self._ring = Ring(self._layout, self.limits, clock())
        self._folded = self._judged = self._considered = clock()
        self._noted = 0.0
        self._state = RetrainState(version=version)
        self.decisions: deque[RetrainDecision] = deque(maxlen=20)
        self.report: MonitorReport | None = None
        self.history: deque[MonitorReport] = deque(maxlen=self.limits.history)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def of_bundle(cls, bundle: Bundle, **settings: Any) -> Monitor | None:
        """The monitor of a bundle, not yet started; None for a bundle without a reference."""
        if not (histograms := bundle.json("reference.json")):
            return None
        schema = bundle.json("signature.json")["schema"]
        return cls(
            with_ranges(histograms, schema["input"]),
            predictions=answer_fields(histograms, schema),
            system=bundle.manifest.system,
            version=bundle.manifest.version,
            baseline=bundle.json("metrics.json"),
            **settings,
        )

    def observe(self, request: Any, answer: Any) -> None:
        """Note one answered request: two dicts or pydantic models, which nobody changes afterwards."""
        with self._lock:
            self._seen += 1
            if self._keep == 1.0 or random() < self._keep:
                self._waiting.append((request, answer))

    def observe_many(self, requests: Sequence[Any], answers: Sequence[Any]) -> None:
        """Note a batch: it is thinned like single requests, and fills at most half the queue."""
        n = min(len(requests), len(answers))
        kept = min(n, max(1, round(n * self._keep)), self.limits.queue_rows // 2)
        places = range(n) if kept == n else sample(range(n), kept)
        with self._lock:
            self._seen += n
            self._waiting.extend((requests[i], answers[i]) for i in places)

    def observe_label(self, predicted: Any, label: Any) -> None:
        """Note that the label of an earlier decision has come back."""
        self._labels.append((label, predicted))

    def snapshot(self) -> MonitorRun:
        """All that the page shows: the history, the latest report last, and the decisions."""
        latest = self.report
        past = [window for window in list(self.history) if latest and window.until != latest.until]
        return MonitorRun(
            system=self.system,
            version=self.version,
            policy=self.policy,
            windows=[*past, latest] if latest else [],
            decisions=list(self.decisions),
            state=self._state,
            reference=self._reference,
        )

    @property
    def recommended(self) -> bool:
        """Whether retraining is recommended now."""
        return self._state.recommended is not None

    def start(self) -> None:
        """Count in the background until `stop()`."""
        self._thread = threading.Thread(target=self._run, name=f"monitor-{self.system}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what was not yet judged is given up."""
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=5)

    def fold(self) -> int:
        """Count what waits into the slice of now, and set how many rows to keep next; returns the rows counted."""
        now, rows = self._clock(), 0
        with self._lock:
            waiting, self._waiting = self._waiting, deque(maxlen=self.limits.queue_rows)
            seen, self._seen = self._seen, 0
        elapsed = max(now - self._folded, 1e-3)
        self._folded = now
        self._keep = min(1.0, self.limits.rows_per_s * elapsed / seen) if seen else 1.0
        self._ring.turn(now, seen)
        while waiting:
            chunk = [waiting.popleft() for _ in range(min(CHUNK_ROWS, len(waiting)))]
            self._ring.add(self._layout.count(self._columns(chunk), len(chunk)))
            rows += len(chunk)
            if waiting:
                time.sleep(STEP_BACK_S)
        return rows

    def judge(self) -> MonitorReport | None:
        """The report of the present window (None before any row), kept as `report` and in the history."""
        from common.monitoring.check import judge

        now = self._clock()
        self._judged = now
        window, seen, since = self._ring.window(now, self.policy.min_rows)
        if not window.n:
            return self.report
        times = {"since": datetime.fromtimestamp(since, UTC), "until": datetime.fromtimestamp(now, UTC)}
        found = judge(self._layout, window, self.policy, self._predictions, seen)
        found = found.model_copy(update={"system": self.system, "version": self.version, **times})
        self.report = found = self._with_labels(found)
        if now - self._noted >= self.limits.longest_s / self.limits.history:
            self._noted = now
            slim = [field.model_copy(update={"shares": []}) for field in found.fields]
            self.history.append(found.model_copy(update={"fields": slim}))
        if now - self._considered >= self.limits.window_s:  # windows that overlap would count the same rows twice
            self._considered = now
            self._consider(found)
        return found

    def _consider(self, report: MonitorReport) -> None:
        self._state, decision = consider(self.retrain, self._state, report)
        if decision:
            self.decisions.append(decision)
            logger.warning(decision.decision, extra={"fields": decision.model_dump(mode="json", exclude={"policy"})})
            self._on_decision(decision)
            if decision.decision == "retrain recommended":
                run_hook(self.retrain, decision)

    def _with_labels(self, report: MonitorReport) -> MonitorReport:
        labels = list(self._labels)
        if len(labels) < self.policy.min_labels:
            return report
        from common.monitoring.check import with_performance
        from common.monitoring.performance import measure, performance_alarms

        performance = measure([y for y, _ in labels], [p for _, p in labels], self._baseline)
        return with_performance(report, performance, performance_alarms(performance, self.policy))

    def _columns(self, chunk: list[tuple[Any, Any]]) -> dict[str, list[Any]]:
        requests, answers = [_plain(request) for request, _ in chunk], [_plain(answer) for _, answer in chunk]
        columns = {}
        for field in self._layout.fields:
            side = answers if field.name in answers[0] and field.name not in requests[0] else requests
            columns[field.name] = [row.get(field.name) for row in side]
        return columns

    def _run(self) -> None:
        import common.monitoring.check  # noqa: F401 - SciPy now, not in the middle of traffic

        while not self._stop.wait(self.limits.fold_s):
            try:
                self.fold()
                if self._clock() - self._judged >= self.limits.judge_s:
                    self.judge()
            except Exception:  # a monitor that fails must not end: the next second may be fine
                logger.exception("the monitor of %s failed", self.system)


def _plain(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else vars(value)
