"""Overload: requests come at a fixed rate, four times what the service can do, whether it answers or not.

An open loop (Schroeder et al., "Open versus closed: a cautionary tale", NSDI 2006): wrk waits for answers, so that a
slow server is asked less. `python overload.py URL RATE SECONDS CONNECTIONS` reads `{"body", "headers"}` from stdin and
writes what it counted as JSON; `overload` runs it in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TICK_S = 0.002
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CONNECTIONS = 1_024
LATE_S = 15.0  # beyond the service's own deadline of 10 s: then it counts as unanswered


class Connection(asyncio.Protocol):
    """One request at a time; knows just enough HTTP/1.1 to find the end of an answer with a `Content-Length`."""

    def __init__(self, client: Client) -> None:
        self.client, self.data, self.due = client, b"", 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, due: float) -> None:
        self.due = due
        self.transport.write(self.client.request)

    def data_received(self, data: bytes) -> None:
        self.data = data = self.data + data if self.data else data
        head, blank, rest = data.partition(b"\r\n\r\n")
        if not blank or len(rest) < int(LENGTH.search(head)[1]):  # type: ignore[index]
            return
        self.data = b""
        self.client.answered(self, head[9:12], head)

    def connection_lost(self, error: Exception | None) -> None:
        self.client.lost(self)


class Client:
    """Sends at `rate` per second; what finds no free connection is counted as `unsent`, never sent later."""

    def __init__(self, request: bytes, rate: float, seconds: float) -> None:
        self.request, self.rate, self.seconds = request, rate, seconds
        self.free: deque[Connection] = deque()
        self.busy: set[Connection] = set()
        self.counts: Counter[str] = Counter()
        self.good_ms: list[float] = []

    async def run(self, host: str, port: int, connections: int) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        for start in range(0, connections, 200):
            many = range(start, min(start + 200, connections))
            made = await asyncio.gather(*(loop.create_connection(lambda: Connection(self), host, port) for _ in many))
            self.free.extend(connection for _, connection in made)
        started, asked = time.perf_counter(), 0
        while (now := time.perf_counter() - started) < self.seconds:
            due = int(now * self.rate)
            while asked < due and self._ask(started + asked / self.rate):
                asked += 1
            self.counts["unsent"] += due - asked
            asked = due
            await asyncio.sleep(TICK_S)
        lasted, in_time = time.perf_counter() - started, self.counts["200"]
        while self.busy and time.perf_counter() - started < self.seconds + LATE_S:
            await asyncio.sleep(0.05)
        self.counts["unanswered"] += len(self.busy)
        self.good_ms.sort()
        return {
            "asked": asked,
            "counts": dict(self.counts),
            "goodput_per_s": in_time / lasted,
            "p50_ms": self._share(0.5),
            "p99_ms": self._share(0.99),
            "client_cpu_share": time.process_time() / (time.perf_counter() - started),
        }

    def answered(self, connection: Connection, status: bytes, head: bytes) -> None:
        if status == b"200":
            self.counts["200"] += 1
            self.good_ms.append((time.perf_counter() - connection.due) * 1000)
        elif status == b"503" and b"\r\nretry-after:" in head.lower():
            self.counts["503 with Retry-After"] += 1
        else:
            self.counts["others"] += 1
        self.busy.discard(connection)
        self.free.append(connection)

    def lost(self, connection: Connection) -> None:
        if connection in self.busy:
            self.counts["disconnected"] += 1
            self.busy.discard(connection)

    def _ask(self, due: float) -> bool:
        while self.free:
            connection = self.free.popleft()  # the one that rested longest, so that all stay in use
            if not connection.transport.is_closing():
                self.busy.add(connection)
                connection.ask(due)
                return True
        return False

    def _share(self, share: float) -> float:
        return self.good_ms[int(share * (len(self.good_ms) - 1))] if self.good_ms else 0.0


def overload(home: Path, model: Path, options: Namespace) -> dict[str, Any]:
    """Four times the capacity for a minute, in requests of one row and of a hundred; the round with the median share.

    Rounds, because the speed of a shared machine drifts by a third within minutes.
    """
    from model import ROW

    many = json.dumps({"rows": [ROW] * 100})
    paths = {"one row": ("", json.dumps(ROW)), "100 rows": ("/batch", many)}
    found: dict[str, Any] = {}
    for name, (end, body) in paths.items():
        rounds = [_overload(home, model, options, f"/v1/boosting/predict{end}", body) for _ in range(options.rounds)]
        rounds.sort(key=lambda one: one["goodput_share"])
        shares = [one["goodput_share"] for one in rounds]
        found[name] = rounds[len(rounds) // 2] | {
            "shares": shares,
            "most_late_to_early": _most(rounds, "late_to_early"),
        }
    return found


def _most(rounds: list[dict[str, Any]], name: str) -> float:
    return max(one[name] for one in rounds)


def _overload(home: Path, model: Path, options: Namespace, path: str, body: str) -> dict[str, Any]:
    """Capacity is what wrk reaches at 32 connections on the same process, the mean of before and after; goodput counts
    only 200s that arrive within the minute. There are twice as many connections as the service has requests in flight
    and waiting (512), so that it has to refuse; what finds none free is `unsent`.
    """
    from life import ours
    from load import wrk

    _raise_limit()  # the server inherits it: a soft limit of 1,024 files would be what is measured
    with ours(home, model) as running:
        running = replace(running, path=path, body=body)
        wrk(running, 32, 3)  # warm
        seconds = max(options.seconds, options.overload_seconds / 4)
        before = wrk(running, 32, seconds)["per_s"]
        idle = running.rss_mb()
        command = [sys.executable, __file__, running.url + path, str(4 * before)]
        client = subprocess.Popen(
            [*command, str(options.overload_seconds), str(CONNECTIONS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        memory: list[float] = []
        watching = threading.Thread(target=_watch, args=(running, client, memory))
        watching.start()
        said, _ = client.communicate(json.dumps({"body": body, "headers": dict(running.headers)}).encode())
        watching.join()
        time.sleep(2)
        rss_after, after = running.rss_mb(), wrk(running, 32, seconds)["per_s"]
    if client.returncode:
        raise RuntimeError(f"the overload client ended with {client.returncode}")
    found, capacity = json.loads(said), (before + after) / 2
    counts, asked = found["counts"], found["asked"]
    refused = counts.get("503 with Retry-After", 0)
    unsent = counts.get("unsent", 0)
    third = len(memory) // 3
    return {
        "capacity_before_per_s": round(before),
        "capacity_after_per_s": round(after),
        "asked_per_s": round(asked / options.overload_seconds),
        "goodput_per_s": round(found["goodput_per_s"]),
        "goodput_share": round(found["goodput_per_s"] / capacity, 3),
        "refused_with_retry_after": refused,
        "unsent": unsent,
        "sent_and_neither": asked - unsent - counts.get("200", 0) - refused,
        "p50_ms": round(found["p50_ms"], 1),
        "p99_ms": round(found["p99_ms"], 1),
        "idle_mb": round(idle, 1),
        "most_mb": round(max(memory), 1),
        "after_mb": round(rss_after, 1),
        # The connections' own memory is there from the start; a leak would show between first and last third.
        "late_to_early": round(max(memory[-third:]) / max(memory[: third + 1]), 3) if third else 1.0,
        "client_cpu_share": round(found["client_cpu_share"], 2),
    }


def _watch(running: Any, client: subprocess.Popen[bytes], memory: list[float]) -> None:
    while client.poll() is None:
        memory.append(running.rss_mb())
        time.sleep(0.5)


def _raise_limit() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    url, (rate, seconds), connections = urlsplit(sys.argv[1]), map(float, sys.argv[2:4]), int(sys.argv[4])
    _raise_limit()
    given = json.load(sys.stdin)
    body = given["body"].encode()
    lines = {"Host": url.netloc, "Content-Type": "application/json", "Content-Length": len(body), **given["headers"]}
    head = [f"POST {url.path} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items()), "", ""]
    client = Client("\r\n".join(head).encode() + body, rate, seconds)
    print(json.dumps(_runner()(client.run(url.hostname or "", url.port or 80, connections))))


def _runner() -> Any:
    try:
        import uvloop
    except ImportError:  # not on every system; the client is then slower, which `client_cpu_share` shows
        return asyncio.run
    return uvloop.run


if __name__ == "__main__":
    main()
