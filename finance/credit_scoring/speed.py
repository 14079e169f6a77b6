"""The speed benchmark: one applicant in the service, a file of a million, the scorecard's fit, the command line.

Times are medians with the 95 % bootstrap interval of the median. Rivals are timed in turns with ours, so
that both meet the same machine; compare ratios, for one machine is not another.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import xgboost
from optbinning import BinningProcess
from optbinning import Scorecard as OptBinningScorecard
from sklearn.linear_model import LogisticRegression

from common.bundle import Bundle
from common.evaluation.report import Metric, Report, Seconds
from common.progress import bar
from common.provenance import commit, machine, peak_rss_mb
from common.serving.app import create_app
from common.serving.observe import JsonLines
from finance.credit_scoring import SYSTEM
from finance.credit_scoring.config import Config
from finance.credit_scoring.data import CreditData, load
from finance.credit_scoring.scorecard import fit_scorecard
from finance.credit_scoring.serve import CreditPredictor
from finance.credit_scoring.train import train

ROUNDS, REQUESTS = 10, 400
FITS = 7
STARTS = 15
FILES = 3
SMALL_FILE, LARGE_FILE = 250_000, 1_000_000
# What the additive model is compared with: deep trees, fast without reasons, slow with them.
DEEP = {"objective": "binary:logistic", "max_depth": 6, "eta": 0.05, "nthread": 1}
DEEP_ROUNDS = 300


def speed(config: Config) -> list[Report]:
    """Train the configured data set's bundle, then time everything on it."""
    started = time.perf_counter()
    data = load(config)
    loaded = time.perf_counter()
    bundle = train(config)
    trained = time.perf_counter()
    steps = [_one_applicant, _file, _scorecard_fit, _command_line]
    found = []
    with bar("timing", len(steps)) as advance:
        for step in steps:
            began = time.perf_counter()
            protocol, metrics, baselines = step(bundle, data)
            seconds = Seconds(data=loaded - started, train=trained - loaded, evaluate=time.perf_counter() - began)
            found.append(_report(data, protocol, metrics, baselines, seconds))
            advance(1, protocol)
    return found


def _report(
    data: CreditData,
    protocol: str,
    metrics: dict[str, Metric],
    baselines: dict[str, dict[str, float]],
    seconds: Seconds,
) -> Report:
    return Report(
        system=SYSTEM.name,
        preset="speed",
        dataset=data.id,
        protocol=protocol,
        simulated=data.simulated,
        data_sha256=data.sha256,
        metrics=metrics,
        baselines=baselines,
        seconds=seconds,
        peak_rss_mb=peak_rss_mb(),
        machine=machine(),
        commit=commit(),
    )


Timings = tuple[str, dict[str, Metric], dict[str, dict[str, float]]]


def _one_applicant(bundle: Bundle, data: CreditData) -> Timings:
    """JSON bytes in, JSON bytes with score, decision and reasons out, through the whole ASGI application."""
    bodies = [json.dumps(example["request"]).encode() for example in bundle.examples()]
    challenger, scorecard = (CreditPredictor.of(bundle, name) for name in ("challenger", "scorecard"))
    x = data.frame[[f.name for f in data.fields if not f.formula]].to_numpy(np.float32)
    booster = xgboost.train(DEEP, xgboost.DMatrix(x, data.y), DEEP_ROUNDS)
    row = x[:1].copy()
    shap = xgboost.DMatrix(row)
    ours: list[float] = []
    card: list[float] = []
    predict: list[float] = []
    explain: list[float] = []
    for _ in range(ROUNDS):
        ours += asyncio.run(_ask(challenger, bodies))
        card += asyncio.run(_ask(scorecard, bodies))
        predict += _time(lambda: booster.inplace_predict(row), REQUESTS)
        explain += _time(lambda: booster.predict(shap, pred_contribs=True), REQUESTS // 10)
    metrics = {"request_ms": _median(ours), "request_scorecard_ms": _median(card)}
    baselines = {
        "XGBoost, 300 trees of depth 6: inplace_predict": {"request_ms": statistics.median(predict) * 1e3},
        "XGBoost, 300 trees of depth 6: TreeSHAP": {"request_ms": statistics.median(explain) * 1e3},
    }
    return "one-applicant", metrics, baselines


async def _ask(predictor: CreditPredictor, bodies: Sequence[bytes]) -> list[float]:
    """Milliseconds of requests to the app, one after another, without a socket; the access log is written away."""
    app = create_app(SYSTEM.vertical, predictors={SYSTEM.name: predictor})
    statuses: list[int] = []
    scopes = [_scope(len(body)) for body in bodies]
    with open(os.devnull, "w") as sink:
        log, handler = logging.getLogger("espalier"), logging.StreamHandler(sink)
        handler.setFormatter(JsonLines())
        before = log.handlers, log.propagate, log.level
        log.handlers, log.propagate = [handler], False
        log.setLevel(logging.INFO)
        try:
            async with app.router.lifespan_context(app):
                took = []
                for i in range(REQUESTS + 100):
                    place = i % len(bodies)
                    started = time.perf_counter()
                    await app(dict(scopes[place]), _receive(bodies[place]), _send(statuses))
                    took.append((time.perf_counter() - started) * 1e3)
        finally:
            log.handlers, log.propagate, log.level = before
    if set(statuses) != {200}:
        raise RuntimeError(f"the service answered {sorted(set(statuses))} instead of 200")
    return took[100:]


def _scope(length: int) -> dict[str, Any]:
    path = f"/v1/{SYSTEM.short_name}/predict"
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "headers": [(b"content-type", b"application/json"), (b"content-length", str(length).encode())],
    }


def _receive(body: bytes) -> Callable[[], Any]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _send(statuses: list[int]) -> Callable[[Any], Any]:
    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    return send


# Runs in a process of its own on one core: rows, seconds and peak memory of scoring one file.
SCORE_ONE_FILE = """
import json, os, resource, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from pathlib import Path
import pyarrow
pyarrow.set_cpu_count(1)
from common.bundle import load_bundle
from common.tables import score_file
from finance.credit_scoring.serve import CreditPredictor
bundle, model, source, target = sys.argv[1:]
predictor = CreditPredictor.of(load_bundle(bundle), model)
started = time.perf_counter()
rows = score_file(predictor, Path(source), Path(target), lambda rows, share: None)
seconds = time.perf_counter() - started
print(json.dumps([rows / seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def _file(bundle: Bundle, data: CreditData) -> Timings:
    """A million applicants from file to file on one core, and how memory grows with the file."""
    rng = np.random.default_rng(0)
    raw = data.frame[[field.name for field in CreditPredictor.of(bundle, "scorecard").fields]]
    rates: dict[str, list[float]] = {}
    peaks: dict[str, list[float]] = {"small": [], "large": []}
    with tempfile.TemporaryDirectory() as folder:
        sources = {}
        for size, rows in (("small", SMALL_FILE), ("large", LARGE_FILE)):
            table = pa.Table.from_pandas(raw.iloc[rng.integers(0, len(raw), rows)], preserve_index=False)
            sources[size, "parquet"] = Path(folder) / f"{size}.parquet"
            pa.parquet.write_table(table, sources[size, "parquet"], row_group_size=65_536)
            sources[size, "csv"] = Path(folder) / f"{size}.csv"
            pa.csv.write_csv(table, sources[size, "csv"])

        def run(model: str, size: str, kind: str) -> tuple[float, float]:
            command = [sys.executable, "-c", SCORE_ONE_FILE, str(bundle.path), model]
            paths = [str(sources[size, kind]), str(Path(folder) / f"out.{kind}")]
            rate, peak = json.loads(subprocess.run([*command, *paths], capture_output=True, check=True).stdout)
            return rate, peak

        for _ in range(FILES):
            for model, kind in (("scorecard", "parquet"), ("scorecard", "csv"), ("challenger", "parquet")):
                name = f"rows_per_second_{model}_{kind}"
                rate, peak = run(model, "large", kind)
                rates.setdefault(name, []).append(rate)
                if (model, kind) == ("scorecard", "csv"):
                    peaks["large"].append(peak)
                    peaks["small"].append(run(model, "small", kind)[1])
    growth = statistics.median(peaks["large"]) / statistics.median(peaks["small"])
    ratios = [large / small for large, small in zip(peaks["large"], peaks["small"], strict=True)]
    metrics = {name: _median(found) for name, found in rates.items()}
    metrics["memory_ratio_4x_rows"] = Metric(value=growth, low=min(ratios), high=max(ratios), n=FILES)
    return "score-file", metrics, {}


def _scorecard_fit(bundle: Bundle, data: CreditData) -> Timings:
    """Binning and scorecard of the raw variables against OptBinning's own BinningProcess and Scorecard, in turns."""
    config = Config.model_validate(bundle.manifest.config)
    whole = load(config.model_copy(update={"sensitive": "include"}))
    fields = [field for field in whole.fields if not field.formula]
    frame: pd.DataFrame = whole.frame[[field.name for field in fields]]
    columns = whole.columns()
    ours, theirs = [], []
    for _ in range(FITS):
        ours += _time(lambda: fit_scorecard(fields, columns, whole.y, config.binning, config.scorecard), 1)
        theirs += _time(lambda: _optbinning(frame, whole.y), 1)
    ratio = [a / b for a, b in zip(ours, theirs, strict=True)]
    metrics = {"fit_seconds": _median(ours), "fit_time_ratio": _median(ratio)}
    return "scorecard-fit", metrics, {"OptBinning": {"fit_seconds": statistics.median(theirs), "fit_time_ratio": 1.0}}


def _optbinning(frame: pd.DataFrame, y: np.ndarray) -> None:
    OptBinningScorecard(
        BinningProcess(list(frame.columns)),
        LogisticRegression(max_iter=1000),
        scaling_method="pdo_odds",
        scaling_method_params={"pdo": 50, "odds": 30, "scorecard_points": 600},
        rounding=True,
    ).fit(frame, y)


def _command_line(bundle: Bundle, data: CreditData) -> Timings:
    """Wall time of whole processes."""
    command = [sys.executable, "-m", "common"]
    times = {
        "help_seconds": _time(lambda: subprocess.run([*command, "--help"], capture_output=True, check=True), STARTS),
        "list_seconds": _time(lambda: subprocess.run([*command, "list"], capture_output=True, check=True), STARTS),
    }
    return "command-line", {name: _median(took) for name, took in times.items()}, {}


def _time(call: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each call, after a collection so that none pays for another's garbage."""
    gc.collect()
    took = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        took.append(time.perf_counter() - started)
    return took


def _median(values: Sequence[float]) -> Metric:
    found = np.asarray(values)
    draws = np.random.default_rng(0).choice(found, (1000, len(found)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return Metric(value=float(np.median(found)), low=float(low), high=float(high), n=len(found))
