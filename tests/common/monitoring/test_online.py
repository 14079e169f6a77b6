from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import BaseModel

from common.monitoring.check import check_window
from common.monitoring.gauges import MonitorGauges
from common.monitoring.online import Monitor, OnlineLimits
from common.monitoring.report import MonitorPolicy
from common.monitoring.retrain import RetrainDecision, RetrainPolicy, RetrainRule

Reference = dict[str, dict[str, Any]]
Records = Callable[..., list[dict[str, Any]]]
EVERYTHING = OnlineLimits(window_s=60, longest_s=600, slice_s=10, rows_per_s=10**9, queue_rows=10**6)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def split(row: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return {name: row[name] for name in row if name != "score"}, {"score": row["score"], "reasons": []}


def feed(monitor: Monitor, rows: list[dict[str, Any]], clock: Clock, seconds: float = 1) -> None:
    for row in rows:
        monitor.observe(*split(row))
    clock.now += seconds
    monitor.fold()


def test_online_equals_offline(reference: Reference, records: Records, clock: Clock) -> None:
    rows = records(700, amount=np.random.default_rng(1).lognormal(7.6, 0.5, 700))
    monitor = Monitor(reference, limits=EVERYTHING, clock=clock)
    for start in range(0, 700, 100):
        feed(monitor, rows[start : start + 100], clock)
    online, offline = monitor.judge(), check_window(reference, rows)
    assert online is not None
    assert {alarm.kind for alarm in online.alarms} >= {"input_drift"}
    times = {"since": None, "until": None}
    assert online.model_copy(update=times) == offline


def test_pydantic_rows_and_batches(reference: Reference, records: Records, clock: Clock) -> None:
    class Ask(BaseModel):
        amount: float
        kind: str
        flag: float | None

    class Answer(BaseModel):
        score: float

    rows = records(500)
    monitor = Monitor(reference, limits=EVERYTHING, clock=clock)
    asked = [Ask.model_validate(row) for row in rows]
    monitor.observe_many(asked, [Answer.model_validate(row) for row in rows])
    clock.now += 1
    assert monitor.fold() == 500
    report = monitor.judge()
    assert report is not None
    assert report.fields == check_window(reference, rows).fields


def test_old_rows_leave_the_window(reference: Reference, records: Records, clock: Clock) -> None:
    monitor = Monitor(reference, limits=EVERYTHING, clock=clock)
    feed(monitor, records(300, kind=np.full(300, "c")), clock)
    first = monitor.judge()
    assert first is not None
    assert {alarm.field for alarm in first.alarms} == {"kind"}
    clock.now += 30
    feed(monitor, records(300, seed=1), clock)
    both = monitor.judge()
    clock.now += 45
    feed(monitor, records(10, seed=2), clock)
    later = monitor.judge()
    assert both is not None
    assert later is not None
    assert (both.n, later.n, later.alarms) == (600, 310, [])


def test_a_quiet_service_looks_further_back(reference: Reference, records: Records, clock: Clock) -> None:
    monitor = Monitor(reference, limits=EVERYTHING, clock=clock)
    rows = records(400)
    for i in range(40):  # 50 rows per minute are too few for a window of one minute, not for one of five
        feed(monitor, rows[10 * i : 10 * i + 10], clock, seconds=12)
    report = monitor.judge()
    assert report is not None
    assert report.judged
    assert 200 <= report.n <= 220
    assert report.until is not None
    assert report.since is not None
    assert report.until - report.since < timedelta(seconds=300)
    clock.now += 10_000  # longer than anything is remembered
    monitor.fold()
    assert monitor.judge() == report  # nothing new to say


def test_heavy_traffic_is_sampled_fairly_in_bounded_memory(
    reference: Reference, records: Records, clock: Clock
) -> None:
    limits = replace(EVERYTHING, rows_per_s=500, queue_rows=1000)
    monitor = Monitor(reference, limits=limits, clock=clock)
    rows = records(5000, kind=np.tile(["a", "b"], 2500))  # a stride of two would see one client only
    folded = []
    for _ in range(5):
        for row in rows:
            monitor.observe(*split(row))
        assert len(monitor._waiting) <= 1000
        clock.now += 1
        folded.append(monitor.fold())
    assert folded[0] == 1000
    assert all(400 < n < 600 for n in folded[1:])
    report = monitor.judge()
    assert report is not None
    assert (report.seen, report.n) == (25_000, sum(folded))
    shares = next(field.shares for field in report.fields if field.name == "kind")
    assert 0.45 < shares[0] < 0.55
    clock.now += 1
    monitor.fold()
    assert monitor._keep == 1  # calm again: every row counts


def test_many_threads_lose_nothing(reference: Reference, records: Records) -> None:
    limits = replace(EVERYTHING, fold_s=0.01, judge_s=0.02)
    monitor = Monitor(reference, limits=limits)
    rows = [split(row) for row in records(500)]
    monitor.start()

    def send() -> None:
        for row in rows:
            monitor.observe(*row)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deadline = time.monotonic() + 20
    while (monitor.report is None or monitor.report.n < 4000) and time.monotonic() < deadline:
        time.sleep(0.02)
    monitor.stop()
    assert monitor.report is not None
    assert (monitor.report.n, monitor.report.seen) == (4000, 4000)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("monitor-")]


def test_a_row_that_cannot_be_counted_does_not_end_the_monitor(reference: Reference, records: Records) -> None:
    monitor = Monitor(reference, limits=replace(EVERYTHING, fold_s=0.01, judge_s=0.02))
    monitor.start()
    monitor.observe(7, None)  # no record at all
    deadline = time.monotonic() + 20
    while monitor._waiting and time.monotonic() < deadline:
        time.sleep(0.01)
    for row in records(300):
        monitor.observe(*split(row))
    while monitor.report is None and time.monotonic() < deadline:
        time.sleep(0.01)
    monitor.stop()
    assert monitor.report is not None


def test_labels_give_live_performance_and_a_recommendation(
    reference: Reference, records: Records, clock: Clock
) -> None:
    told: list[RetrainDecision] = []
    rule = RetrainRule(kinds=("performance",), for_s=60, windows=2)
    monitor = Monitor(
        reference,
        system="branch.system",
        retrain=RetrainPolicy(rules=(rule,)),
        baseline={"valid_auc": 0.9},
        limits=EVERYTHING,
        on_decision=told.append,
        clock=clock,
    )
    generator = np.random.default_rng(0)
    for p in generator.random(1000):
        monitor.observe_label(p, int(generator.random() < 0.5))
    rows = records(300)
    for _ in range(12):
        feed(monitor, rows, clock, seconds=20)
        monitor.judge()
    assert monitor.report is not None
    assert monitor.report.performance is not None
    assert monitor.report.performance.n == 1000
    assert [decision.decision for decision in told] == ["retrain recommended"]
    assert monitor.recommended
    assert monitor.snapshot().state.recommended is not None


def test_gauges(reference: Reference, records: Records, clock: Clock) -> None:
    monitor = Monitor(reference, system="branch.system", limits=EVERYTHING, clock=clock)
    idle = Monitor(reference, system="branch.idle", limits=EVERYTHING, clock=clock)
    registry = CollectorRegistry()
    registry.register(MonitorGauges(lambda: [monitor, idle]))
    feed(monitor, records(300, kind=np.full(300, "c")), clock)
    monitor.judge()
    text = generate_latest(registry).decode()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(lines['espalier_drift_psi{field="kind",system="branch.system"}']) > 0.25
    assert float(lines['espalier_prediction_psi{field="score",system="branch.system"}']) < 0.25
    assert lines['espalier_alarms{kind="input_drift",system="branch.system"}'] == "1.0"
    assert lines['espalier_alarms{kind="missing",system="branch.system"}'] == "0.0"
    assert lines['espalier_retrain_recommended{system="branch.idle"}'] == "0.0"
    assert not [name for name in lines if "branch.idle" in name and "retrain" not in name]


def test_history_is_bounded_and_shown(reference: Reference, records: Records, clock: Clock) -> None:
    limits = replace(EVERYTHING, history=5, longest_s=50)
    monitor = Monitor(reference, limits=limits, policy=MonitorPolicy(min_rows=10), clock=clock)
    for seed in range(12):
        feed(monitor, records(50, seed), clock, seconds=10)
        monitor.judge()
    shown = monitor.snapshot()
    assert len(shown.windows) == 5
    assert shown.windows[-1] == monitor.report
    assert type(shown).model_validate_json(shown.model_dump_json()) == shown


def test_a_service_needs_no_pandas_nor_matplotlib() -> None:
    code = (
        "import sys, common.monitoring.online, common.monitoring.gauges, common.monitoring.check;"
        "print([m for m in ('pandas', 'matplotlib', 'sklearn', 'scipy.stats') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
