"""`POST transactions` of a real service under load: one process that serves, and this one that asks."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import numpy as np

from common.bundle import Bundle
from common.errors import EspalierError
from common.evaluation.report import Metric
from common.progress import bar

CONNECTIONS = 16
PACE, PACED_S = 500, 20
"""Transactions a second, for so long."""
ROUNDS = 5


def over_http(bundle: Bundle, bodies: Sequence[bytes]) -> dict[str, Metric]:
    """Answers a second with `CONNECTIONS` that wait for each other's, and milliseconds from when a transaction was due
    to its answer at a steady pace. Audit log, monitor and disk are on. Raises `EspalierError` when one is refused."""
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"ESPALIER_HOME": home, "DATABASE_URL": "", "REDIS_URL": "", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "common", "serve", "finance", "--bundle", str(bundle.path), "--port", "0"]
        service = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            assert service.stdout
            greeting = next(
                (found for line in service.stdout if (found := re.search(rb"http://[^:]+:(\d+)", line))), None
            )
            if greeting is None:
                raise EspalierError("the service did not start", where=str(bundle.path))
            return asyncio.run(_ask(int(greeting[1]), bodies))
        finally:
            service.terminate()
            service.wait()


async def _ask(port: int, bodies: Sequence[bytes]) -> dict[str, Metric]:
    free = asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]()
    for _ in range(CONNECTIONS):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    await _send(free, bodies[0])  # opens the state
    paced, rest = bodies[1 : 1 + PACE * PACED_S], bodies[1 + PACE * PACED_S :]
    took, waiting, origin = np.empty(len(paced)), set[asyncio.Task[None]](), time.perf_counter() + 0.1

    async def timed(place: int, body: bytes) -> None:
        await _send(free, body)
        took[place] = 1000 * (time.perf_counter() - origin - place / PACE)

    with bar(f"{PACE} a second by HTTP", len(paced)) as advance:
        for place, body in enumerate(paced):
            await asyncio.sleep(max(0.0, origin + place / PACE - time.perf_counter()))
            waiting.add(asyncio.create_task(timed(place, body)))
            if place % PACE == PACE - 1:
                waiting = {task for task in waiting if not task.done()}
                advance(PACE)
        await asyncio.gather(*waiting)
    size, rates = len(rest) // ROUNDS, []
    for start in range(0, ROUNDS * size, size):
        began = time.perf_counter()
        await asyncio.gather(*(_send(free, body) for body in rest[start : start + size]))
        rates.append(size / (time.perf_counter() - began))
    parts, found = np.array_split(took, ROUNDS), {}
    for name, share in (("http_ms_p50", 50), ("http_ms_p99", 99)):
        values, whole = [float(np.percentile(part, share)) for part in parts], float(np.percentile(took, share))
        found[name] = Metric(value=whole, low=min(*values, whole), high=max(*values, whole), n=len(took))
    return found | {"http_per_second": Metric(value=float(np.median(rates)), low=min(rates), high=max(rates), n=ROUNDS)}


async def _send(free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]], body: bytes) -> None:
    reader, writer = connection = await free.get()
    head = b"POST /v1/fraud_detection/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    writer.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
    answered = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", answered)
    content = await reader.readexactly(int(length[1]) if length else 0)
    free.put_nowait(connection)
    if not answered.startswith(b"HTTP/1.1 200"):
        raise EspalierError("a transaction was refused", got=content.decode()[:200])
