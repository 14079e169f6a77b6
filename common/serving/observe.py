"""Around every request: an id, a bounded body, a latency, a JSON line in the log, an answer even to the unforeseen."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.serving.body import limited
from common.serving.metrics import Metrics
from common.serving.problems import respond

access = logging.getLogger("espalier.access")
logger = logging.getLogger("espalier.serving")

BLANK = logging.LogRecord("espalier.access", logging.INFO, __file__, 0, "request", (), None).__dict__
encode = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would build one per line: 5 µs
GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
CLIENT_GONE = 499  # nginx's word for a client that closed before its answer


class Observe:
    """ASGI middleware; bodies and field values are never logged, only route, status and time."""

    def __init__(self, app: ASGIApp, metrics: Metrics, most_body_bytes: int) -> None:
        self.app, self.metrics, self.most_body_bytes = app, metrics, most_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; see the class."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = time.perf_counter()
        request_id = _request_id(scope)
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
            await self.app(scope, limited(scope, receive, self.most_body_bytes), send_with_id)
        except ClientDisconnect:
            status = CLIENT_GONE
        except Exception as error:
            logger.exception("request %s failed", request_id)
            if status:  # half an answer is out; only a broken connection can say so
                raise
            await respond(error, request_id, self.metrics.rejected, scope["path"])(scope, receive, send_with_id)
        finally:
            self._record(scope, request_id, status, time.perf_counter() - started)

    def _record(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        # The template, not the path: a path would make one series per guess of a scanner.
        route = scope["state"].get("route") or getattr(scope.get("route"), "path", "unmatched")
        self.metrics.seconds.labels(route, status).observe(seconds)
        if access.isEnabledFor(logging.INFO):
            fields = {"request_id": request_id, "route": route, "status": status, "ms": round(seconds * 1000, 3)}
            # Without `access.info`, which looks for the calling line of code, thread and process: 25 µs.
            record = logging.LogRecord.__new__(logging.LogRecord)
            record.__dict__ = {**BLANK, "created": time.time(), "fields": fields}
            access.handle(record)


def _request_id(scope: Scope) -> str:
    for key, value in scope["headers"]:
        if key == b"x-request-id" and GIVEN_ID.fullmatch(value):
            return str(value, "ascii")
    return os.urandom(8).hex()


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class JsonLines(logging.Formatter):
    """One JSON object per record; `extra={"fields": {...}}` adds keys."""

    def format(self, record: logging.LogRecord) -> str:
        """Time (UTC), level, message, the record's fields, and the traceback if there is one."""
        line: dict[str, Any] = {
            "time": f"{_second(int(record.created))}.{int(record.created % 1 * 1000):03d}+00:00",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return encode(line)
