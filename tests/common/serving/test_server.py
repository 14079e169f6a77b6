"""A real uvicorn process on a free port."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from common.errors import UsageError
from common.serving.run import _bind

SERVE = """
from toy_system import SYSTEM, Adder
from common.serving.app import create_app
from common.serving.run import run_app
run_app(create_app("toy", systems=[SYSTEM], predictors={"toy.adder": Adder(1)}), port=0)
"""


class Server:
    def __init__(self) -> None:
        here = str(Path(__file__).parent)
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE],
            env=os.environ | {"PYTHONPATH": here},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.greeting = self.process.stdout.readline()
        match = re.search(r"http://127\.0\.0\.1:\d+", self.greeting)
        if not match:
            self.process.kill()
        assert match, self.process.communicate()
        self.url = match[0]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.process.terminate()
    server.process.communicate(timeout=20)


def test_it_greets_with_its_address_and_answers(server: Server) -> None:
    assert server.greeting.startswith("Espalier toy on http://127.0.0.1:")
    assert f"{server.url}/docs" in server.greeting
    response = httpx.post(f"{server.url}/v1/adder/predict", json={"age": 20})
    assert response.json() == {"total": 21.0, "version": 1}


def test_ten_megabytes_get_one_sentence_and_leave_the_server_well(server: Server) -> None:
    url = f"{server.url}/v1/adder/predict"
    headers = {"content-type": "application/json"}
    for route in (url, f"{url}/batch"):
        for content in (b"x" * 10_000_000, (b"x" * 100_000 for _ in range(100))):  # the second is sent chunked
            response = httpx.post(route, content=content, headers=headers)
            assert response.status_code == 413
            assert "the body is too large" in response.json()["detail"]
    assert httpx.post(url, json={"age": 20}).is_success


def test_a_chunked_body_is_refused_before_it_ends(server: Server) -> None:
    """The client sends 3 MiB of an endless body and gets its answer without ever ending it."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = "POST /v1/adder/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        connection.sendall(chunk * 3)
        assert b"413" in connection.recv(4096)


def test_a_client_that_leaves_is_forgotten(server: Server) -> None:
    url = f"{server.url}/v1/adder/predict"
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx.post, url, json={"age": 20, "note": "slow"})
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(url, json={"age": 20, "note": "slow"}, timeout=0.2)
        assert slow.result().is_success
    assert httpx.post(url, json={"age": 20}).is_success
    metrics = httpx.get(f"{server.url}/metrics").text
    assert 'status="499"} 1.0' in metrics


def rows_arrived(server: Server) -> float:
    metrics = httpx.get(f"{server.url}/metrics").text
    counts = re.findall(r"^espalier_(?:batch_rows_sum|queued_rows)\{.*\} (.*)$", metrics, re.MULTILINE)
    return sum(map(float, counts))


def test_sigterm_finishes_what_is_in_flight() -> None:
    server = Server()
    url = f"{server.url}/v1/adder/predict"
    with ThreadPoolExecutor() as pool:
        in_flight = [pool.submit(httpx.post, url, json={"age": 20, "note": "slow"}, timeout=20) for _ in range(4)]
        while rows_arrived(server) < 4:
            pass
        server.process.send_signal(signal.SIGTERM)
        assert [future.result().json()["version"] for future in in_flight] == [1, 1, 1, 1]
    _, log = server.process.communicate(timeout=20)
    assert server.process.returncode in (0, -signal.SIGTERM)
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["status"] for line in lines if line.get("route") == "/v1/adder/predict"] == [200] * 4
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


def test_a_taken_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"127\.0\.0\.1:{port}: cannot listen here: got Address already in use"):
            _bind("127.0.0.1", port)
