"""Around every request: an id, a bounded body, a latency, a JSON line in the log, an answer even to the unforeseen."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

from prometheus_client import Counter
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.ids import random_id
from common.serving.body import limited
from common.serving.metrics import Metrics
from common.serving.problems import respond

access = logging.getLogger("espalier.access")
logger = logging.getLogger("espalier.serving")

BLANK = logging.LogRecord("espalier.access", logging.INFO, __file__, 0, "request", (), None).__dict__
encode = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would build one per line: 5 µs
GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
FLUSH_S = 0.1
CLIENT_GONE = 499  # nginx's word for a client that closed before its answer


class Record:
    """One latency and one line for each request, whichever way it went."""

    def __init__(self, metrics: Metrics) -> None:
        self._seconds = metrics.seconds
        self._series: dict[tuple[str, int], Callable[[float], None]] = {}  # `labels` looks a series up in 2 µs

    def __call__(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        """Note an answered request."""
        route, state = self.observe(scope, status, seconds), scope["state"]
        traced = "trace_id" in state
        if traced:
            state["answered_route"], state["status"] = route, status
        if access.isEnabledFor(logging.INFO):
            fields = {"request_id": request_id, "route": route, "status": status, "ms": round(seconds * 1000, 3)}
            if traced:
                fields["trace_id"] = state["trace_id"]
            # Without `access.info`, which looks for the calling line of code, thread and process: 25 µs.
            record = logging.LogRecord.__new__(logging.LogRecord)
            record.__dict__ = {**BLANK, "created": time.time(), "fields": fields}
            access.handle(record)

    def observe(self, scope: Scope, status: int, seconds: float) -> str:
        """The latency alone; returns the route."""
        # The template, not the path: a path would make one series per guess of a scanner.
        route = scope["state"].get("route") or getattr(scope.get("route"), "path", "unmatched")
        observe = self._series.get((route, status))
        if observe is None:
            observe = self._series[route, status] = self._seconds.labels(route, status).observe
        observe(seconds)
        return str(route)


class Observe:
    """ASGI middleware; bodies and field values are never logged, only route, status and time.

    `most_body_bytes` gives the limit of a path, whichever route reads the body.
    """

    def __init__(self, app: ASGIApp, record: Record, rejected: Counter, most_body_bytes: Callable[[str], int]) -> None:
        self.app, self.record, self.rejected, self.most_body_bytes = app, record, rejected, most_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; see the class."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = time.perf_counter()
        request_id = id_of(scope)
        scope.setdefault("state", {}).update(request_id=request_id, started=started)
        id_header = (b"x-request-id", request_id.encode())
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), id_header]
            await send(message)

        try:
            await self.app(scope, limited(scope, receive, self.most_body_bytes(scope["path"])), send_with_id)
        except ClientDisconnect:
            status = CLIENT_GONE
        except Exception as error:
            logger.exception("request %s failed", request_id)
            if status:  # half an answer is out; only a broken connection can say so
                raise
            await respond(error, request_id, self.rejected, scope["path"])(scope, receive, send_with_id)
        finally:
            self.record(scope, request_id, status, time.perf_counter() - started)


def id_of(scope: Scope) -> str:
    """The id that the client gave its request, when it is harmless, or a new one."""
    for key, value in scope["headers"]:
        if key == b"x-request-id" and GIVEN_ID.fullmatch(value):
            return str(value, "ascii")
    return random_id()


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _time(seconds: float) -> str:
    return f"{_second(int(seconds))}.{int(seconds % 1 * 1000):03d}+00:00"


_quoted = lru_cache(maxsize=256)(json.dumps)


class JsonLines(logging.Formatter):
    """One JSON object per record; `extra={"fields": {...}}` adds keys."""

    def format(self, record: logging.LogRecord) -> str:
        """Time (UTC), level, message, the record's fields, and the traceback if there is one."""
        line: dict[str, Any] = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return encode(line)


class AccessLines(logging.Handler):
    """Requests as the same JSON lines, written together every `FLUSH_S` by a thread, as nginx's `flush=` does.

    A line and a write for each request took 18 µs of the event loop, now 5. kill -9 loses the lines of `FLUSH_S`.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream
        self._lines: list[str] = []
        self._some = threading.Event()
        threading.Thread(target=self._run, name="access-log", daemon=True).start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Keep the record's line; without the lock of other handlers, as appending needs none."""
        fields = record.__dict__["fields"]
        trace = f', "trace_id": "{fields["trace_id"]}"' if "trace_id" in fields else ""
        # An id has no character to escape; a JSON encoder for the whole would cost 4 µs.
        self._lines.append(
            f'{{"time": "{_time(record.created)}", "level": "info", "message": "request", '
            f'"request_id": "{fields["request_id"]}", "route": {_quoted(fields["route"])}, '
            f'"status": {fields["status"]}, "ms": {fields["ms"]}{trace}}}\n'
        )
        if not self._some.is_set():
            self._some.set()
        return True

    def flush(self) -> None:
        """Write what is kept; `logging` calls it at the process's end too."""
        lines, self._lines = self._lines, []
        self.stream.write("".join(lines))
        self.stream.flush()

    def _run(self) -> None:
        while self._some.wait():
            time.sleep(FLUSH_S)
            self._some.clear()
            with suppress(OSError, ValueError):  # a closed stream has nobody to tell
                self.flush()
