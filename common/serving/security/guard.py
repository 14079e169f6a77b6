"""ASGI middleware that admits a request or answers it: headers, credential, rate, scope, in this order.

Pure ASGI, because Starlette's BaseHTTPMiddleware costs a task and a stream per request, more than our whole hot path.
It belongs inside `Observe`, which gives the request its id and counts the refusal.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import Counter
from starlette.types import ASGIApp, Receive, Scope, Send

from common.errors import Overloaded, RequestError
from common.serving.problems import respond
from common.serving.security.authenticate import BEARER, Authenticate
from common.serving.security.buckets import RateLimit
from common.serving.security.caller import Caller
from common.serving.security.credentials import credential
from common.serving.security.errors import Forbidden, TooManyRequests
from common.serving.security.policy import ANY, OPEN, Policy, told
from common.serving.security.slow import timely

logger = logging.getLogger("espalier.security")

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Gate:
    """Decides who may pass. Without `authenticate` everybody may do everything."""

    def __init__(
        self, policy: Policy, authenticate: Authenticate | None, rates: RateLimit, origins: Sequence[str] = ()
    ) -> None:
        self.policy, self.authenticate, self.rates, self.origins = policy, authenticate, rates, frozenset(origins)

    async def admit(self, scope: Scope, state: dict[str, Any]) -> None:
        """Writes the caller's id to `state["caller"]`, or raises the `RequestError` of a refusal."""
        state["caller"] = "anonymous"
        path, headers = scope["path"], scope["headers"]
        shown = credential(headers, len(scope.get("raw_path") or path) + len(scope["query_string"]))
        method = scope["method"] if scope["type"] == "http" else "WS"
        # A browser adds Basic, and opens WebSockets, for any site that asks it to; CORS stops neither.
        if (method == "WS" or (isinstance(shown, tuple) and shown[0] == "basic")) and method not in SAFE:
            self._check_origin(headers)
        if self.authenticate is None:
            return
        root = scope.get("root_path")
        needed = self.policy.needed(method, path.removeprefix(root) if root else path)
        if needed is OPEN:
            return
        page = shown is None and method in SAFE and any(k == b"accept" and b"text/html" in v for k, v in headers)
        caller = await self.authenticate.caller(shown, page=page)
        state["caller"] = caller.id
        if method == "WS":  # one request, many messages: whoever answers them asks for each
            state["charge"] = partial(self._check_rate, caller)
        await self._check_rate(caller)
        if needed is not ANY and needed.isdisjoint(caller.scopes):
            wanted = told(needed)
            raise Forbidden(
                "this credential does not open this route, or there is no such route",
                expected=f"the scope {' or '.join(wanted)}",
                challenge=f'{BEARER}, error="insufficient_scope", scope="{wanted[0]}"',
            )

    async def _check_rate(self, caller: Caller) -> None:
        wait_s = self.rates.take(caller)
        if wait_s is None:
            wait_s = await self.rates.wait(caller)
        if wait_s > 0:
            raise TooManyRequests(caller.rate, caller.burst, wait_s)

    def _check_origin(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        found = dict(headers)
        origin = found.get(b"origin", b"").decode("latin-1")
        try:
            here = not origin or urlsplit(origin).netloc == found.get(b"host", b"").decode("latin-1")
        except ValueError:
            here = False
        if not here and origin not in self.origins:
            raise Forbidden("asked by a page of another site", expected="a page of this service or an allowed origin")


class Guard:
    """The middleware around a gate."""

    def __init__(self, app: ASGIApp, gate: Gate, rejected: Counter) -> None:
        self.app, self.gate, self.rejected = app, gate, rejected

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit or refuse; see the module."""
        if scope["type"] == "lifespan":
            try:
                await self.app(scope, receive, send)
            finally:
                await self.gate.rates.close()
            return
        try:
            await self.gate.admit(scope, scope.setdefault("state", {}))
        except RequestError as error:
            await self._refuse(error, scope, receive, send)
            return
        await self.app(scope, timely(receive) if scope["type"] == "http" else receive, send)

    async def _refuse(self, error: RequestError, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["state"]
        note_refusal(error, state)
        if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": type(error).__name__})
            return
        await respond(error, state.get("request_id", ""), self.rejected, scope["path"])(scope, receive, send)


def note_refusal(error: RequestError, state: Mapping[str, Any]) -> None:
    """Who was refused, in the log."""
    fields = {key: state[key] for key in ("request_id", "caller") if key in state}
    logger.info("refused", extra={"fields": {**fields, "status": error.status}})


def crowded() -> Overloaded:
    """The refusal of a request beyond `Limits.requests`."""
    return Overloaded("too many requests are in flight", fix=f"retry after {Overloaded.retry_after} s")
