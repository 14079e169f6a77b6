"""The speed benchmark: decisions per second, their latency at a steady pace, and a million cards in memory and on disk.

One process, one core: transactions come as JSON, are checked, logged, counted, scored, decided, and alerts are queued.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import tempfile
import time
from pathlib import Path

import numpy as np

from common.config import Settings
from common.evaluation.report import Metric, Report, Seconds
from common.progress import bar
from common.provenance import commit, machine, peak_rss_mb
from finance.fraud_detection import SYSTEM
from finance.fraud_detection.clock import DAY
from finance.fraud_detection.config import Config
from finance.fraud_detection.data import Events, load
from finance.fraud_detection.definition import Definition
from finance.fraud_detection.durable import Durable
from finance.fraud_detection.http_load import over_http
from finance.fraud_detection.live import Live
from finance.fraud_detection.online import Rows
from finance.fraud_detection.serve import FraudPredictor
from finance.fraud_detection.train import told, train

BULK, TOGETHER = 50_000, 500
PACE, PACED_S = 1_000, 30
"""Transactions a second, for so long."""
CARDS, A_DAY, TERMINALS = 1_000_000, 0.5, 200_000
"""Assumed: a payment every other day and card."""
CHUNK = 500_000
ROUNDS = 5


def speed(config: Config) -> Report:
    """Medians of rounds with their range; percentiles of all decisions at the pace."""
    started = time.perf_counter()
    events = load(config)
    loaded = time.perf_counter()
    bundle = train(config)
    trained = time.perf_counter()
    predictor = FraudPredictor.load(bundle)
    later = events.rows(events.time >= predictor.kept["known_until"])
    with tempfile.TemporaryDirectory() as home:
        live = Live(predictor, Settings(home=Path(home), database_url="", redis_url=""))
        live.adopt(predictor)
        bodies = _bodies(later, BULK + PACE * PACED_S)
        metrics = {"bulk_per_second": _bulk(live, predictor, bodies[:BULK])}
        metrics |= _paced(live, predictor, bodies[BULK:])
        live.close()
    metrics |= over_http(bundle, bodies[BULK:])
    metrics |= _million_cards(predictor.definition)
    return Report(
        system=SYSTEM.name,
        preset="speed",
        dataset=events.dataset,
        protocol="online",
        simulated=events.simulated,
        data_sha256=events.sha256,
        metrics=metrics,
        seconds=Seconds(data=loaded - started, train=trained - loaded, evaluate=time.perf_counter() - trained),
        peak_rss_mb=peak_rss_mb(),
        machine=machine(),
        commit=commit(),
    )


def _bodies(events: Events, count: int) -> list[bytes]:
    names = list(events.entities)
    return [
        json.dumps(
            {
                "id": str(events.id[i]),
                "time": told(int(events.time[i])),
                "amount": int(events.amount[i]) / 100,
                "currency": events.currency,
                **{name: str(events.entities[name][i]) for name in names},
            }
        ).encode()
        for i in range(min(count, len(events)))
    ]


def _bulk(live: Live, predictor: FraudPredictor, bodies: list[bytes]) -> Metric:
    """Transactions a second in requests of `TOGETHER`."""
    size, rates = len(bodies) // ROUNDS, []
    for start in range(0, ROUNDS * size, size):
        began = time.perf_counter()
        for first in range(start, start + size, TOGETHER):
            some = bodies[first : min(first + TOGETHER, start + size)]
            live.take(predictor, [predictor.request.model_validate_json(body) for body in some])
        rates.append(size / (time.perf_counter() - began))
    return Metric(value=float(np.median(rates)), low=min(rates), high=max(rates), n=ROUNDS)


def _paced(live: Live, predictor: FraudPredictor, bodies: list[bytes]) -> dict[str, Metric]:
    """Milliseconds from when a transaction was due to its decision: who comes late waits in line, and that counts."""
    took = np.empty(len(bodies))
    start = time.perf_counter() + 0.1
    with bar(f"{PACE} a second", len(bodies)) as advance:
        for place, body in enumerate(bodies):
            due = start + place / PACE
            while (now := time.perf_counter()) < due:
                if due - now > 0.0005:
                    time.sleep(0.0003)
            live.take(predictor, [predictor.request.model_validate_json(body)])
            took[place] = time.perf_counter() - due
            if place % PACE == 0:
                advance(PACE)
    parts = np.array_split(1000 * took, ROUNDS)
    found = {}
    for name, share in (("decision_ms_p50", 50), ("decision_ms_p99", 99)):
        values = [float(np.percentile(part, share)) for part in parts]
        whole = float(np.percentile(1000 * took, share))
        found[name] = Metric(value=whole, low=min(*values, whole), high=max(*values, whole), n=len(took))
    return found


def _million_cards(definition: Definition) -> dict[str, Metric]:
    """Memory of a process that holds a million cards, and how long it takes to start again after `kill -9`."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, float] = {}
        for step in (_fill, _reopen):
            receive, send = context.Pipe(duplex=False)
            process = context.Process(target=step, args=(definition, folder, send))
            process.start()
            found |= receive.recv()
            process.kill()
            process.join()
    lost = found.pop("filled") - found.pop("found_again")
    return {name: _exact(value) for name, value in (found | {"events_lost": lost}).items()}


def _fill(definition: Definition, folder: str, answer: multiprocessing.connection.Connection) -> None:
    """A process that holds the state, until it is killed."""
    state = Durable(definition, Path(folder))
    days = (state.keep + DAY - 1) // DAY
    count = int(CARDS * A_DAY * days)
    rng, taken, start = np.random.default_rng(0), 0, 1_700_000_000_000
    with bar("a million cards", count) as advance:
        while taken < count:
            size = min(CHUNK, count - taken)
            times = start + np.sort(rng.integers(taken, taken + size, size)) * (days * DAY // count)
            keys = np.stack([rng.integers(1, CARDS, size), CARDS + rng.integers(1, TERMINALS, size)], axis=1)
            ids = np.arange(taken + 1, taken + size + 1).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
            mixed = keys.astype(np.uint64) * np.uint64(0xBF58476D1CE4E5B9)
            rows = Rows(np.full(size, -1, np.int8), ids, times, rng.integers(100, 30_000, size), mixed)
            state.take(rows, counted=False)
            taken += size
            advance(size)
    held = state.size
    answer.send({"cards_rss_mb": _rss_mb(), "cards_state_mb": held["bytes"] / 1e6, "filled": held["transactions"]})
    time.sleep(600)


def _reopen(definition: Definition, folder: str, answer: multiprocessing.connection.Connection) -> None:
    began = time.perf_counter()
    state = Durable(definition, Path(folder))
    seconds = time.perf_counter() - began
    answer.send({"restart_s": seconds, "found_again": state.size["transactions"]})
    time.sleep(600)


def _rss_mb() -> float:
    """The peak of this process; `ru_maxrss` would be that of the one that started it, when that was larger."""
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak
    return int(peak[1]) / 1024


def _exact(value: float) -> Metric:
    return Metric(value=float(value), low=float(value), high=float(value), n=1)
