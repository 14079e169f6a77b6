"""A short cut for the routes that carry the load: from the guard straight to the route's ASGI app.

Between them Starlette and FastAPI have an exception handler, an exit stack and a search through all routes, which cost
60 µs: more than validation and model of a small system. Every other route goes the long way.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import Counter
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from common.errors import EspalierError
from common.serving.problems import respond


class Lanes:
    """ASGI middleware, innermost; `lanes` maps full paths to the apps of `POST` routes and may change at any time."""

    def __init__(self, app: ASGIApp, lanes: Mapping[str, ASGIApp], rejected: Counter) -> None:
        self.app, self.lanes, self.rejected = app, lanes, rejected

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the short cut if there is one."""
        lane = self.lanes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if lane is None:
            return await self.app(scope, receive, send)
        scope["state"]["route"] = scope["path"]
        try:
            await lane(scope, receive, send)
        except (EspalierError, HTTPException) as error:
            response = respond(error, scope["state"]["request_id"], self.rejected, scope["path"])
            await response(scope, receive, send)
        return None
