"""Load: wrk for throughput, threads with a keep-alive client where every single answer is looked at."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

SCALE = {"us": 1e-3, "ms": 1.0, "s": 1000.0}


@dataclass
class Running:
    """A server that is up: its process, and the one request to send."""

    process: subprocess.Popen[bytes]
    url: str
    path: str
    body: str
    headers: Mapping[str, str]

    def kill(self) -> None:
        """End the process and its children: BentoML's workers are in process groups of their own."""
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def rss_mb(self) -> float:
        """Resident memory of the process and its children."""
        process = psutil.Process(self.process.pid)
        return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 2**20


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def ask(running: Running) -> int:
    """Status of one request."""
    headers = {"Content-Type": "application/json", **running.headers}
    request = urllib.request.Request(running.url + running.path, running.body.encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def wait_until_up(running: Running, seconds: float = 90) -> None:
    """Raises `RuntimeError` when the server does not answer 200 in time."""
    until, last = time.monotonic() + seconds, "nothing"
    while time.monotonic() < until and running.process.poll() is None:
        try:
            if (status := ask(running)) == 200:
                return
            last = str(status)
        except OSError as error:
            last = str(error)
        time.sleep(0.02)
    raise RuntimeError(f"{running.process.args} did not come up at {running.url}: {last}")


def wrk(running: Running, connections: int, seconds: float) -> dict[str, float]:
    """Requests (and per second), p50 and p99 (ms), and answers that were not 200."""
    headers = {"Content-Type": "application/json", **running.headers}
    lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write("\n".join(['wrk.method = "POST"', f"wrk.body = [[{running.body}]]", *lines]))
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "-s", script.name]
        out = subprocess.run([*command, running.url + running.path], capture_output=True, text=True, check=True).stdout
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    return {
        "requests": float(re.search(r"(\d+) requests in", out)[1]),  # type: ignore[index]
        "per_s": float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]),  # type: ignore[index]
        "p50_ms": _ms(out, "50%"),
        "p99_ms": _ms(out, "99%"),
        "failed": float(bad[1]) if bad else 0.0,
    }


def _ms(out: str, share: str) -> float:
    match = re.search(rf"{share}\s+([\d.]+)(us|ms|s)", out)
    assert match, out
    return float(match[1]) * SCALE[match[2]]


class Watchful:
    """Clients that look at each answer. A request counts as failed when it was sent on a connection that had been
    accepted and got no whole 200 answer; a refused connection is no failure: a balancer takes the next replica.
    """

    def __init__(self, running: Running, clients: int = 8) -> None:
        self.answers: list[tuple[str, int]] = []  # version in the header, number in the body
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(running,)) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, running: Running) -> None:
        at = urlsplit(running.url)
        headers = {"Content-Type": "application/json", **running.headers}
        while not self._stop.is_set():
            connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=30)
            try:
                connection.connect()
            except OSError:
                return
            try:
                while not self._stop.is_set():
                    connection.request("POST", running.path, running.body, headers)
                    answer = connection.getresponse()
                    content = answer.read()
                    if answer.status != 200:
                        self.failures.append(f"{answer.status} {content[:200]!r}")
                        break
                    self.answers.append((answer.headers["x-model-version"], json.loads(content)["number"]))
                    if answer.headers.get("connection", "").lower() == "close":
                        break
            except http.client.RemoteDisconnected:
                # Closed before a byte of the answer: an idle connection's end, unless the request was being worked on.
                self.failures.append("disconnected")
            except OSError as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            finally:
                connection.close()
