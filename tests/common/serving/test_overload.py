"""A real server that may have four requests in flight, asked for forty at once."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

SERVE = """
from toy_system import SYSTEM, Adder
from common.serving.app import create_app
from common.serving.limits import Limits
from common.serving.run import run_app
run_app(create_app("toy", systems=[SYSTEM], predictors={"toy.adder": Adder(1)}, limits=Limits(requests=4)), port=0)
"""


@pytest.fixture
def url() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    match = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
    assert match
    yield match[0]
    process.terminate()
    process.wait(20)


def request(path: str, note: str | None, more: str = "") -> bytes:
    body = json.dumps({"age": 20, "note": note})
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}"
    return f"{head}\r\n{body}".encode()


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += (got := connection.recv(65536))
        assert got, data
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    while len(rest) < int(headers["content-length"]):
        rest += connection.recv(65536)
    return int(first.split()[1]), headers, rest


def test_each_request_is_answered_or_refused_with_a_time_to_come_back(url: str) -> None:
    place = (urlsplit(url).hostname or "", urlsplit(url).port or 0)
    connections = [socket.create_connection(place, timeout=20) for _ in range(40)]
    for number, connection in enumerate(connections):
        path = "/v2/models/adder/infer" if number >= 38 else "/v1/adder/predict"
        connection.sendall(request(path, "slow", f"X-Request-Id: number-{number}\r\n"))
        time.sleep(0.002)  # in this order
    assert httpx.get(f"{url}/health/live").status_code == 200
    answers = [answer(connection) for connection in connections]
    assert Counter(status for status, _, _ in answers[:38]).keys() == {200, 503}
    assert [status for status, _, _ in answers[:8]] == [200] * 8  # four in flight, four waiting
    for number, (status, headers, body) in enumerate(answers):
        assert headers["x-request-id"] == f"number-{number}"
        assert headers["cache-control"] == "no-store"
        if status == 503:
            assert headers["retry-after"] == "1"
            assert headers["content-type"] == "application/problem+json"
            found = json.loads(body)
            assert found["type"] == "urn:espalier:problem:overloaded"
            assert found["status"] == 503
            assert ("error" in found) == (number >= 38)
    metrics = httpx.get(f"{url}/metrics").text
    refused = sum(status == 503 for status, _, _ in answers)
    assert f'espalier_rejected_requests_total{{reason="overloaded"}} {refused}.0' in metrics
    # A refused connection is as good as any other.
    for connection in connections:
        connection.sendall(request("/v1/adder/predict", None))
        assert answer(connection)[0] == 200
        connection.close()


def test_what_a_waiting_client_sends_next_is_not_lost(url: str) -> None:
    place = (urlsplit(url).hostname or "", urlsplit(url).port or 0)
    busy = [socket.create_connection(place, timeout=20) for _ in range(4)]
    for connection in busy:
        connection.sendall(request("/v1/adder/predict", "slow"))
    time.sleep(0.05)
    with socket.create_connection(place, timeout=20) as connection:
        connection.sendall(request("/v1/adder/predict", None))
        time.sleep(0.05)
        second = request("/v1/adder/predict", None)
        connection.sendall(second[:50])
        time.sleep(0.05)
        connection.sendall(second[50:])
        assert answer(connection)[0] == 200
        assert answer(connection)[0] == 200
    for connection in busy:
        assert answer(connection)[0] == 200
        connection.close()
