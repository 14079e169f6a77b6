"""A real uvicorn and clients that take their time."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.serving.security.errors import SlowBody
from common.serving.security.slow import timely

SERVE = """
from common.serving.security import connection, guard, slow
connection.HEAD_S = 0.3
guard.timely = lambda receive: slow.timely(receive, 0.3, 1000)
import uvicorn
from guarded import Settings, make_app
config = uvicorn.Config(make_app(Settings()), port=0, http=connection.BoundedProtocol, log_level="info")
uvicorn.Server(config).run()
"""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    folder = str(Path(__file__).parent)
    with subprocess.Popen([sys.executable, "-c", SERVE], cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if match := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                break
        assert match
        yield int(match[1])
        process.terminate()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def everything(connection: socket.socket) -> bytes:
    """What the server says until it closes; a time-out means that it does not."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def dribble(connection: socket.socket) -> None:
    """A byte now and then, each of which puts off uvicorn's own time-out."""
    for _ in range(200):
        connection.sendall(b"x")
        time.sleep(0.05)


BATCH = b"POST /v1/adder/predict/batch HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "])
def test_a_head_that_does_not_end_is_not_waited_for(port: int, head: bytes) -> None:
    with connect(port) as connection:
        connection.sendall(head)
        assert everything(connection) == b""


def test_nor_is_a_second_one_on_a_kept_connection(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /health")
        with pytest.raises(ConnectionError):
            dribble(connection)


def test_an_endless_head_is_refused_before_it_ends(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 70_000)
        assert connection.recv(4096).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "start", [b"Content-Length: 500\r\n\r\n" + b"x" * 10, b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"]
)
def test_a_body_that_stops_is_408_and_the_connection_ends(port: int, start: bytes) -> None:
    with connect(port) as connection:
        connection.sendall(BATCH + start)
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
    assert b"connection: close" in answer.lower()


def test_who_sends_gets_the_time_for_it_and_keeps_the_connection(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(3):
            assert client.post("/v1/adder/predict/batch", content=b"x" * 900).json() == 900
            assert client.post("/v1/adder/predict/batch", content=(b"x" for _ in range(90))).json() == 90


def test_several_requests_at_once_on_one_connection(port: int) -> None:
    last = BATCH + b"Connection: close\r\nContent-Length: 2\r\n\r\nxx"
    with connect(port) as connection:
        connection.sendall((BATCH + b"Content-Length: 2\r\n\r\nxx") * 4 + last)
        answer = everything(connection)
    assert answer.count(b"HTTP/1.1 200") == 5


def test_a_refused_upload_is_read_to_its_end_so_that_the_client_hears_why(port: int) -> None:
    for content in (b"x" * 3_000_000, (b"x" * 100_000 for _ in range(30))):
        response = httpx.post(f"http://127.0.0.1:{port}/v1/adder/predict/batch", content=content)
        assert response.status_code == 413


def test_a_refused_upload_that_stops_is_not_waited_for(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(BATCH + b"Content-Length: 5000000\r\n\r\n" + b"x" * 5000)
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")
        with pytest.raises(ConnectionError):
            dribble(connection)


def test_a_websocket_stays_open(port: int) -> None:
    client = pytest.importorskip("websockets.sync.client", reason="websockets is not installed")
    with client.connect(f"ws://127.0.0.1:{port}/v1/adder/stream") as socket:
        assert socket.recv() == '{"caller":"anonymous"}'
        time.sleep(0.5)
        socket.send("still here")
        assert socket.recv() == "still here"


async def parts(waits: list[float], sent: list[str]) -> str:
    """What an app makes of a body in parts that each take so long (s)."""
    left = iter(waits)

    async def receive() -> dict[str, Any]:
        wait = next(left, None)
        if wait is None:
            await asyncio.sleep(0)
            return {"type": "http.disconnect"}
        try:
            if wait:
                await asyncio.sleep(wait)
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            sent.append("cancelled")
            raise
        return {"type": "http.request", "body": b"x", "more_body": len(sent) + 1 < len(waits)}

    received = timely(receive, 0.2, 1000)
    while (await received())["type"] != "http.disconnect":
        sent.append("part")
    return "left"


def test_parts_that_are_here_and_parts_that_come_later() -> None:
    for waits in ([0.0], [0.01], [0.0, 0.01, 0.0, 0.01]):
        sent: list[str] = []
        assert asyncio.run(parts(waits, sent)) == "left"
        assert sent == ["part"] * len(waits)


def test_waiting_for_a_part_can_be_cancelled_from_outside() -> None:
    async def run() -> list[str]:
        sent: list[str] = []
        task = asyncio.create_task(parts([0.0, 0.1], sent))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return sent

    assert asyncio.run(run()) == ["part", "cancelled"]


def test_a_late_part_is_refused_and_no_longer_waited_for() -> None:
    sent: list[str] = []
    with pytest.raises(SlowBody, match="got 1 bytes"):
        asyncio.run(parts([0.0, 30], sent))
    assert sent == ["part", "cancelled"]
