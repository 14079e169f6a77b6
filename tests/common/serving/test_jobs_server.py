"""Jobs in a real service in production mode: whose they are, what goes on record, and the end of the service."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from test_jobs import COUNTS, events
from toy_jobs import LIMITS, SYSTEM
from toy_system import NoConfig

from common.bundle import save_bundle
from common.errors import Overloaded
from common.serving.jobs.job import Event, Job, TooManyJobs
from common.serving.jobs.pool import Jobs
from common.serving.jobs.stream import EventStream, written
from common.serving.security.keyfile import create_key

SERVE = """
import sys
from pathlib import Path
from toy_jobs import SYSTEM
from common.serving.app import create_app
from common.serving.run import run_app
run_app(create_app("toy", {"toy.counter": Path(sys.argv[1])}, systems=[SYSTEM]), port=0)
"""


class Running:
    def __init__(self, folder: Path) -> None:
        keys = folder / "keys.json"
        scopes = {"a": ("predict:*",), "b": ("predict:*",), "feedback": ("feedback",), "admin": ("admin",)}
        self.clients = {}
        made = {name: create_key(keys, scope, name=name)[0] for name, scope in scopes.items()}
        info = folder / "plugin" / "toy-0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 0\n")
        (info / "entry_points.txt").write_text("[espalier.systems]\ntoy.counter = toy_jobs:SYSTEM\n")
        path = os.pathsep.join([str(info.parent), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(info.parent))
            examples = [{"steps": 1}, {"steps": 2}]
            parts: dict[str, Any] = {"arrays": {}, "preprocess": {}, "metrics": {}, "reference": {}}
            parts["data"] = {"simulated": False}
            bundle = save_bundle(SYSTEM, NoConfig(), **parts, examples=examples, folder=folder / "bundle").path
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE, str(bundle)],
                env=os.environ
                | {"PYTHONPATH": path, "ESPALIER_ENVIRONMENT": "production"}
                | {"ESPALIER_KEYS_FILE": str(keys), "ESPALIER_HOME": str(folder / "home")},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout
        found = re.search(r"http://127\.0\.0\.1:\d+", self.process.stdout.readline())
        assert found, self.log.read_text()
        self.url = found[0]
        self.keys = made
        for name, key in made.items():
            self.clients[name] = httpx.Client(base_url=self.url, headers={"X-API-Key": key}, timeout=20)
        self.a, self.b = self.clients["a"], self.clients["b"]

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        for client in self.clients.values():
            client.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    running.end()
    assert "Traceback" not in running.log.read_text()


def post(client: httpx.Client, **fields: Any) -> str:
    reply = client.post(COUNTS, json=fields)
    assert reply.status_code == 202, reply.text
    return str(reply.headers["location"])


def workers(service: Running) -> list[psutil.Process]:
    return psutil.Process(service.process.pid).children()


def test_a_job_belongs_to_the_key_that_made_it_and_is_on_record(service: Running) -> None:
    address = post(service.a, steps=2)
    told = events(service.a.get(f"{address}/events").text)
    assert told[-1][1] == "end"
    assert service.a.get(address).json()["total"] == 2
    unknown = service.b.get(f"{COUNTS}/nothing-at-all")
    for method, path in (("GET", address), ("GET", f"{address}/events"), ("DELETE", address)):
        reply = service.b.request(method, path)
        assert reply.status_code == 404
        assert reply.json()["detail"] == unknown.json()["detail"]
    assert service.b.get(COUNTS).json() == []
    assert len(service.a.get(COUNTS).json()) == 1
    assert httpx.get(f"{service.url}{address}").status_code == 401
    assert service.clients["feedback"].get(address).status_code == 403
    decision = service.a.get(address).headers["x-decision-id"]
    until = time.monotonic() + 10
    while (kept := service.clients["admin"].get(f"/v1/decisions/{decision}")).status_code == 404:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert kept.json()["caller"].startswith("key:") or "a" in kept.json()["caller"]
    service.a.delete(address)
    assert service.a.get(address).status_code == 410
    assert service.b.get(address).status_code == 404


def test_who_listens_gets_the_best_when_the_service_stops(service: Running) -> None:
    address = post(service.a, steps=10_000, pause=0.01, seconds=30)
    with service.a.stream("GET", f"{address}/events") as reply:
        lines = reply.iter_text()
        text = next(lines) + next(lines)
        [worker] = workers(service)
        service.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        text += "".join(lines)
    _, kind, last = events(text)[-1]
    assert (kind, last["state"]["status"], last["state"]["cut_short"]) == ("end", "done", "the service stopped")
    assert last["result"]["stopped"]
    assert LIMITS.drain_s <= time.monotonic() - started < 8
    assert service.process.wait(10) == -signal.SIGTERM  # as uvicorn ends after a clean stop
    assert not worker.is_running()


def test_what_nobody_listens_to_does_not_hold_up_the_end(service: Running) -> None:
    addresses = [post(service.a, steps=10_000, pause=0.01, seconds=30) for _ in range(2)]
    while service.a.get(addresses[0]).json()["status"] != "running":
        time.sleep(0.01)
    started = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(10) == -signal.SIGTERM  # as uvicorn ends after a clean stop
    assert time.monotonic() - started < 6


def test_a_service_that_is_killed_leaves_no_process(service: Running) -> None:
    address = post(service.a, steps=10_000, pause=0.01, seconds=30)
    while service.a.get(address).json()["status"] != "running":
        time.sleep(0.01)
    [worker] = workers(service)
    service.process.kill()
    worker.wait(5)


def test_a_reader_who_vanishes_is_forgotten_and_streams_are_bounded(service: Running) -> None:
    address = post(service.a, steps=10_000, pause=0.01, seconds=30)
    at = urlsplit(service.url)
    request = f"GET {address}/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {service.keys['a']}\r\n\r\n".encode()
    open_ = [socket.create_connection((at.hostname or "", at.port or 0), timeout=5) for _ in range(LIMITS.streams)]
    for connection in open_:
        connection.sendall(request)
        assert b"200 OK" in connection.recv(100)
    refused = service.a.get(f"{address}/events")
    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    for connection in open_:
        connection.close()
    until = time.monotonic() + 5
    while 'state="streams"} 0.0' not in service.a.get("/metrics").text:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert service.a.get(address).json()["status"] in ("waiting", "running")  # it goes on
    assert service.a.post("/v1/counter/predict", json={"steps": 3}).json()["total"] == 3


def test_a_client_who_leaves_takes_its_short_job_along(service: Running) -> None:
    at = urlsplit(service.url)
    body = b'{"steps": 10000, "pause": 0.01}'
    head = f"POST /v1/counter/at-once HTTP/1.1\r\nHost: x\r\nX-API-Key: {service.keys['a']}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((at.hostname or "", at.port or 0), timeout=5) as connection:
        connection.sendall(head.encode() + body)
        while not service.a.get("/metrics").text.count('state="running"} 1.0'):
            time.sleep(0.02)
    until = time.monotonic() + 5
    while 'state="running"} 0.0' not in service.a.get("/metrics").text:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_reader_who_takes_nothing_is_left() -> None:
    async def read() -> tuple[float, list[dict[str, Any]]]:
        jobs = Jobs("toy", "toy_work:count", replace(LIMITS, patience_s=0.1, heartbeat_s=0.05))
        job = Job("a", 1.0, b"{}", 5)
        sent = []

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(60)
            return {}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)
            if len(sent) > 2:
                await asyncio.sleep(60)

        started = time.monotonic()
        await EventStream(jobs, job, 0, {})({"type": "http"}, receive, send)
        assert jobs.counts()["streams"] == 0
        assert not job.readers
        return time.monotonic() - started, sent

    took, sent = asyncio.run(read())
    assert 0.1 <= took < 2
    assert [message["type"] for message in sent] == ["http.response.start", *["http.response.body"] * 2]


def test_nothing_is_taken_in_once_the_service_stops() -> None:
    async def ask() -> None:
        jobs = Jobs("toy", "toy_work:count", LIMITS)
        await jobs.close()
        with pytest.raises(Overloaded, match="the service is stopping"):
            jobs.submit("a", b"{}", 1)

    asyncio.run(ask())


def test_one_caller_may_not_take_all_places() -> None:
    async def ask() -> None:
        jobs = Jobs("toy", "toy_work:count", replace(LIMITS, waiting=10, each=2))
        first = jobs.submit("a", b'{"steps": 1000, "pause": 0.01}', 1)
        jobs.submit("a", b"{}", 1)
        with pytest.raises(TooManyJobs, match="too many jobs with this credential: expected at most 2") as refused:
            jobs.submit("a", b"{}", 1)
        assert refused.value.headers == {"Retry-After": "1"}
        jobs.submit("b", b"{}", 1)
        jobs.cancel(first)
        await jobs.close()

    asyncio.run(ask())


def test_a_result_on_several_lines_is_one_event() -> None:
    text = written(Event(3, "end", b'{\n "a":\r\n1}')).decode()
    assert text == 'id: 3\nevent: end\ndata: {\ndata:  "a":\ndata: 1}\n\n'
    data = "\n".join(line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data"))
    assert json.loads(data) == {"a": 1}
