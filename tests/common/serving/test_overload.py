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
from contextlib import closing
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


class Client:
    """A connection whose answers are read one by one."""

    def __init__(self, url: str) -> None:
        at = urlsplit(url)
        self.socket = socket.create_connection((at.hostname or "", at.port or 0), timeout=20)
        self.stream = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self.stream.readline().split()[1])
        headers = {}
        while line := self.stream.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        return status, headers, self.stream.read(int(headers["content-length"]))

    def close(self) -> None:
        self.stream.close()
        self.socket.close()


def test_each_request_is_answered_or_refused_with_a_time_to_come_back(url: str) -> None:
    connections = [Client(url) for _ in range(40)]
    for number, connection in enumerate(connections):
        path = "/v2/models/adder/infer" if number >= 38 else "/v1/adder/predict"
        connection.send(request(path, "slow", f"X-Request-Id: number-{number}\r\n"))
        time.sleep(0.002)  # in this order
    assert httpx.get(f"{url}/health/live").status_code == 200
    answers = [connection.answer() for connection in connections]
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
        connection.send(request("/v1/adder/predict", None))
        assert connection.answer()[0] == 200
        connection.close()


def test_what_a_waiting_client_sends_next_is_not_lost(url: str) -> None:
    busy = [Client(url) for _ in range(4)]
    for connection in busy:
        connection.send(request("/v1/adder/predict", "slow"))
    time.sleep(0.05)
    with closing(Client(url)) as connection:
        connection.send(request("/v1/adder/predict", None))
        time.sleep(0.05)
        second = request("/v1/adder/predict", None)
        connection.send(second[:50])
        time.sleep(0.05)
        connection.send(second[50:])
        assert connection.answer()[0] == 200
        assert connection.answer()[0] == 200
    for connection in busy:
        assert connection.answer()[0] == 200
        connection.close()
