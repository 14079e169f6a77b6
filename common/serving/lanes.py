"""The short way of the routes that carry the load: gate, body, model, one write, one line in the log.

The long way leads through seven layers of Starlette and FastAPI, a search through all routes, and uvicorn's checks of
every header: 90 µs, more than validation and model of a small system. Both ways share all that judges a request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from prometheus_client import Counter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from common.errors import EspalierError, RequestError
from common.serving.observe import CLIENT_GONE, Record, id_of
from common.serving.problems import respond
from common.serving.security.guard import Gate, crowded, note_refusal
from common.serving.security.headers import Header, secured
from common.serving.security.slow import timely
from common.serving.slot import Live
from common.serving.tracing import Tracing

if TYPE_CHECKING:
    from common.console.mount import Console

logger = logging.getLogger("espalier.serving")

Answer = tuple[Live, tuple[Header, ...], bytes]
"""The model that answered, headers of this answer alone, and its JSON."""
Lane = Callable[[Scope, Receive], Awaitable[Answer]]
SMALL_BYTES = 64 * 1024
"""A larger answer goes the way that waits for a slow reader."""


class Service(FastAPI):
    """FastAPI whose `lanes` (full path of a `POST` route -> what answers it) are not searched for; may change any time.

    A server that writes an answer as it is offers `scope["state"]["write"]` (see `connection.py`); others get messages.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.lanes: dict[str, Lane] = {}
        self.tracing: Tracing | None = None
        self.console: Console | None = None
        self.on_drain: list[Callable[[], None]] = []
        """Called when the service is told to stop, while its connections are still there."""

    def shorten(self, gate: Gate, record: Record, rejected: Counter, most: int) -> None:
        """Hand over what judges and counts requests on the long way too; `most` requests may be in flight."""
        self.gate, self.record, self.rejected, self.most = gate, record, rejected, most
        self._turned_away, self._told = 0, 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The short way where there is one; CORS, for browsers, knows the long one only."""
        if self.tracing and scope["type"] == "http":
            return await self.tracing.around(self._answer, scope, receive, send)
        return await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            lane = self.lanes.get(scope["path"])
            if lane and not (self.gate.origins and any(name == b"origin" for name, _ in scope["headers"])):
                return await self._short_way(lane, scope, receive, send)
        return await super().__call__(scope, receive, send)

    def turn_away(self, path: str) -> None:
        """Count a request that the server has refused because too many are in flight."""
        scope = {"state": {"route": path if path in self.lanes else "unmatched"}}
        self.record.observe(scope, 503, 0.0)
        self.rejected.labels("overloaded").inc()
        self._turned_away += 1
        now = time.monotonic()
        if now - self._told >= 1:  # one line for each would make the flood worse
            logger.warning("%d requests refused: %s", self._turned_away, crowded())
            self._turned_away, self._told = 0, now

    async def _short_way(self, lane: Lane, scope: Scope, receive: Receive, send: Send) -> None:
        started, path = time.perf_counter(), scope["path"]
        request_id, state = id_of(scope), scope.setdefault("state", {})
        write = state.pop("write", None)  # it holds the scope: a cycle for each request would keep the collector busy
        state.update(request_id=request_id, started=started, route=path)
        status, admitted = 200, False
        try:
            await self.gate.admit(scope, state)
            admitted = True
            live, decision, content = await lane(scope, timely(receive))
            own = (*decision, (b"x-request-id", request_id.encode()))
            if write is None or len(content) > SMALL_BYTES or not write(live.head, own, content):
                headers = (*live.headers, *own, (b"content-length", str(len(content)).encode()))
                await send({"type": "http.response.start", "status": 200, "headers": secured(200, headers, scope)})
                await send({"type": "http.response.body", "body": content})
        except ClientDisconnect:
            status = CLIENT_GONE
        except Exception as error:
            if not admitted and isinstance(error, RequestError):
                note_refusal(error, state)
            elif not isinstance(error, EspalierError | HTTPException):
                logger.exception("request %s failed", request_id)
            response = respond(error, request_id, self.rejected, path)
            given = [*response.raw_headers, (b"x-request-id", request_id.encode())]
            response.raw_headers = secured(response.status_code, given, scope)
            status = response.status_code
            await response(scope, receive, send)
        finally:
            self.record(scope, request_id, status, time.perf_counter() - started)
