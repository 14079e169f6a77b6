"""Our service through its life: start, many rows, swaps, the end, a million requests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

from load import Running, Watchful, free_port, wait_until_up, wrk
from model import FEATURES, ROW

HERE = Path(__file__).parent
ROWS = 10_000


@contextmanager
def ours(home: Path, model: Path) -> Iterator[Running]:
    """Our service in production mode, with a key, audit, metrics and monitor."""
    import ours as plugin

    key = plugin.prepare(home, model)
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, HERE / "ours.py", home, str(port)],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(home / "plugin"), str(HERE), str(HERE.parents[1])])}
        | {
            "ESPALIER_HOME": str(home),
            "ESPALIER_ENVIRONMENT": "production",
            "ESPALIER_KEYS_FILE": str(home / "keys.json"),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    running = Running(process, url, "/v1/boosting/predict", json.dumps(ROW), {"X-API-Key": key})
    try:
        wait_until_up(running)
        yield running
    finally:
        running.kill()


def rows(home: Path, model: Path, options: Namespace) -> dict[str, float]:
    """Rows per second of 10,000 rows in one request, as JSON and as binary tensors (median of 15)."""
    import numpy as np

    x = np.random.default_rng(2).normal(size=(ROWS, len(FEATURES))).astype(np.float32)
    batch = json.dumps({"rows": [dict(zip(FEATURES, row, strict=True)) for row in x.round(3).astype(float).tolist()]})
    inputs = [
        {"name": name, "datatype": "FP32", "shape": [ROWS], "parameters": {"binary_data_size": ROWS * 4}}
        for name in FEATURES
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    tensors = head + b"".join(np.ascontiguousarray(x[:, i]).tobytes() for i in range(len(FEATURES)))
    with ours(home, model) as running:
        as_json = _median_s(running, "/v1/boosting/predict/batch", batch.encode(), {})
        length = {"Inference-Header-Content-Length": str(len(head))}
        as_tensors = _median_s(running, "/v2/models/boosting/infer", tensors, length)
    return {"json_rows_per_s": round(ROWS / as_json), "tensor_rows_per_s": round(ROWS / as_tensors)}


def _median_s(running: Running, path: str, body: bytes, more: dict[str, str]) -> float:
    headers = {"Content-Type": "application/json", **running.headers, **more}
    seconds = []
    for _ in range(15):
        request = urllib.request.Request(running.url + path, body, headers)
        started = time.perf_counter()
        with urllib.request.urlopen(request) as answer:
            answer.read()
        seconds.append(time.perf_counter() - started)
        time.sleep(0.5)  # the audit's own work is not part of this request, but of the next
    return sorted(seconds)[len(seconds) // 2]


def sigterm(home: Path, model: Path, options: Namespace) -> dict[str, Any]:
    """SIGTERM under load, five times: failed requests."""
    failed, answered, examples = 0, 0, []
    for _ in range(5):
        with ours(home, model) as running:
            clients = Watchful(running)
            time.sleep(2)
            running.process.send_signal(signal.SIGTERM)
            running.process.wait(30)
            clients.stop()
        failed += len(clients.failures)
        answered += len(clients.answers)
        examples += clients.failures[:3]
    return {"answered": answered, "failed": failed, "examples": examples}


def swap(home: Path, model: Path, options: Namespace) -> dict[str, Any]:
    """Twenty hot swaps under load: failed requests, and answers whose body is of another version than its header."""
    with ours(home, model) as running:
        clients = Watchful(running)
        for i in range(20):
            time.sleep(0.3)
            body = json.dumps({"bundle": f"v{2 - i % 2}"}).encode()
            headers = {"Content-Type": "application/json", **running.headers}
            url = f"{running.url}/v1/deployments/boosting/swap"
            with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
                answer.read()
        clients.stop()
    numbers: dict[str, set[int]] = {}
    for version, number in clients.answers:
        numbers.setdefault(version, set()).add(number)
    mixed = sum(len(found) != 1 for found in numbers.values())
    return {
        "swaps": 20,
        "answered": len(clients.answers),
        "failed": len(clients.failures),
        "examples": clients.failures[:3],
        "versions": len(numbers),
        "mixed_versions": mixed,
    }


def startup(home: Path, model: Path, options: Namespace) -> dict[str, float]:
    """`espalier serve finance` with credit scoring only: from the command to ready (median of 5), and its memory."""
    environment = os.environ | {"ESPALIER_HOME": str(home / "finance"), "PYTHONPATH": str(HERE.parents[1])}
    environment["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, "-m", "common"]
    train = [*command, "train", "finance.credit_scoring", "--preset", "sample"]
    subprocess.run(train, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds, memory = [], []
    for _ in range(5):
        port = free_port()
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, "serve", "finance", "--port", str(port)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        running = Running(process, f"http://127.0.0.1:{port}", "/health/ready", "", {})
        while True:
            try:
                with urllib.request.urlopen(running.url + running.path) as answer:
                    if answer.status == 200:
                        break
            except OSError:
                time.sleep(0.01)
        seconds.append(time.perf_counter() - started)
        memory.append(running.rss_mb())
        running.kill()
    return {"ready_s": round(sorted(seconds)[2], 2), "rss_mb": round(sorted(memory)[2], 1)}


def memory(home: Path, model: Path, options: Namespace) -> dict[str, float]:
    """Resident memory after 10,000 requests and after a million."""
    with ours(home, model) as running:
        _requests(running, 10_000)
        early = running.rss_mb()
        done = _requests(running, options.requests)
        late = running.rss_mb()
    return {"requests": done, "early_mb": round(early, 1), "late_mb": round(late, 1), "ratio": round(late / early, 3)}


def _requests(running: Running, n: int) -> int:
    done = 0
    while done < n:
        seconds = ceil(min(30, max(2, (n - done) / 3000)))  # wrk takes whole ones
        found = wrk(running, 32, seconds)
        if found["failed"]:
            raise RuntimeError(f"{found['failed']:.0f} requests of the memory test were not answered with 200")
        done += int(found["requests"])
    time.sleep(2)
    return done
