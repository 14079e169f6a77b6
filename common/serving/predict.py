"""The hot path: JSON bytes in, validated once, predicted, JSON bytes out.

The two routes of a system are ordinary FastAPI routes to OpenAPI, but their ASGI app is ours: no dependency
solving, no second parse, no response objects. With batcher, id and metrics a request costs 35 µs this way, and
60 µs in FastAPI's own handler without them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from contextvars import ContextVar
from typing import Any

from fastapi import Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from common.serving.body import read_all
from common.serving.lanes import Answer, Lane, Service
from common.serving.limits import Limits
from common.serving.names import check_names
from common.serving.problems import MEDIA_TYPE, UnsupportedMediaType, invalid_body
from common.serving.security import describe
from common.serving.slot import Live, Slot
from common.serving.watch import Decided, Watch
from common.serving.wire import Wire, wires
from common.system import Predictor

JSON = ("application/json",)
PINNED: ContextVar[Live | None] = ContextVar("live", default=None)
REFUSALS = {
    400: "The body is not JSON",
    413: "The body or the number of rows is over the limit",
    415: "The body is not declared as application/json",
    422: "A field is wrong",
    503: "Overloaded, or the model is not ready",
    504: "No answer before the deadline",
} | describe.REFUSALS


def add_routes(app: Service, slot: Slot, limits: Limits, watch: Watch) -> None:
    """Add (or replace) `POST /v1/<system>/predict` and `.../predict/batch`, typed and exemplified by the live model."""
    path, name = f"/v1/{slot.system.short_name}/predict", slot.system.short_name
    app.openapi_schema = None
    ready = slot.status == "ready"
    one, rows = slot.live().wires if ready else wires(slot.kind, limits.batch_rows)
    pairs = slot.live().examples[:3] if ready else []
    shown = [(pair["request"], pair["response"]) for pair in pairs]
    shown_rows = [({"rows": [q for q, _ in shown]}, {"rows": [a for _, a in shown]})] if shown else []
    single, batch = (
        _roomy(_lane(slot, watch, max(usual, slot.body_bytes), batch=many), slot, usual)
        for usual, many in ((limits.body_bytes, False), (limits.batch_body_bytes, True))
    )
    purpose, many = slot.system.purpose, "Many requests at once, in order."
    _add(app, path, name, f"{slot.system.summary} One request.", purpose, one, shown[:1], single)
    _add(app, f"{path}/batch", f"{name}_batch", many, purpose, rows, shown_rows, batch)


def _add(
    app: Service,
    path: str,
    name: str,
    summary: str,
    purpose: str,
    wire: Wire,
    shown: list[tuple[Any, Any]],
    lane: Lane,
) -> None:
    async def documented(body: Any) -> None:  # never called; its annotation tells OpenAPI what the ASGI app reads
        return None

    documented.__annotations__["body"] = wire.request
    problem = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}}
    route = APIRoute(
        path,
        documented,
        methods=["POST"],
        name=name,
        operation_id=f"predict_{name}",
        summary=summary,
        description=purpose,
        response_model=wire.response,
        responses={status: {"description": text, **problem} for status, text in REFUSALS.items()},
        tags=[name.removesuffix("_batch")],
        openapi_extra=_examples(*shown[0]) if shown else {},
    )
    route.app = _long_way(lane)
    app.lanes[path] = lane
    routes = app.router.routes
    place = next((i for i, old in enumerate(routes) if getattr(old, "path", "") == path), len(routes))
    routes[place : place + 1] = [route]


def _examples(request: Any, response: Any) -> dict[str, Any]:
    """A golden pair of the bundle for OpenAPI: it works as it stands."""
    return {
        "requestBody": {"content": {"application/json": {"example": request}}},
        "responses": {"200": {"content": {"application/json": {"example": response}}}},
    }


def _lane(slot: Slot, watch: Watch, most_bytes: int, *, batch: bool) -> Lane:
    async def answer(scope: Scope, receive: Receive) -> Answer:
        _check_json(scope)
        body = await read_all(scope, receive, most_bytes)
        watch.admit()
        live = slot.choose(scope)
        wire = live.wires[batch]
        try:
            asked: Any = wire.validate(body)
        except ValidationError as error:
            raise invalid_body(error, wire.schema) from None
        rows = asked.rows if batch else (asked,)
        check_names(body, batch + sum([len(row.__pydantic_fields_set__) for row in rows]))
        started = time.perf_counter()
        answers = await held(scope, live.batcher.submit(rows, alone=scope["state"].get("alone", False)))
        scope["state"]["model"] = live, len(rows), started, time.perf_counter()
        content = wire.dump(wire.response.model_construct(rows=answers) if batch else answers[0])
        bodies = (body, content) if batch else (b"[%b]" % body, b"[%b]" % content)
        decision = watch.rows(scope, live, rows, answers, bodies)
        if slot.rival:
            watch.shadow(slot, scope, body, batch, answers, decision)
        return live, decision, content

    return answer


def _roomy(lane: Lane, slot: Slot, usual: int) -> Lane:
    """The lane, with room held for each body over the usual limit; as it is for a system that takes none."""
    if slot.body_bytes <= usual:
        return lane

    async def answer(scope: Scope, receive: Receive) -> Answer:
        with slot.room.hold(scope, receive, usual) as held_receive:
            return await lane(scope, held_receive)

    return answer


def _long_way(lane: Lane) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        live, decision, content = await lane(scope, receive)
        headers = [*live.headers, *decision, (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return app


def pinned(slot: Slot) -> Predictor:
    """The predictor whose headers `own_route` has set, so that a swap in between mixes no two versions."""
    live = PINNED.get()
    return (live if live and live.system == slot.system.name else slot.live()).predictor


def own_route(slot: Slot, prefix: str, watch: Watch) -> Callable[[HTTPConnection, Response], Awaitable[None]]:
    """What every route that a system adds itself is held to: JSON in, or what its `openapi_extra` names as content of
    the body, the live model's headers out, its whole path in log and metrics. `request.state.decided` is for those that
    decide (see `Decided`)."""

    async def hold(connection: HTTPConnection, response: Response) -> None:
        scope, live = connection.scope, slot.live()
        connection.state.route = prefix + scope["route"].path
        if scope["type"] == "http":  # a WebSocket outlives models
            if scope["method"] in {"POST", "PUT", "PATCH"}:
                _check_json(scope, _declared(scope["route"]))
            PINNED.set(live)
        connection.state.decided = Decided(watch, scope, live, response)
        for name, value in live.headers:
            if name != b"content-type":
                response.headers[name.decode()] = value.decode()

    return hold


def _declared(route: Any) -> tuple[str, ...]:
    """The media types that a route takes."""
    extra: dict[str, Any] = getattr(route, "openapi_extra", None) or {}
    return tuple(extra.get("requestBody", {}).get("content", JSON))


def _check_json(scope: Scope, taken: Collection[str] = JSON) -> None:
    content_type = b""
    for key, value in scope["headers"]:
        if key == b"content-type":
            content_type = value
        elif key == b"content-encoding" and value.strip().lower() != b"identity":
            got = value.decode("latin-1")[:60]
            raise UnsupportedMediaType("the body is compressed", got=got, expected="plain JSON", fix="send it as it is")
    media_type = content_type.partition(b";")[0].strip().lower().decode("latin-1")
    if media_type not in taken:
        what = (
            "the body is not declared as JSON"
            if tuple(taken) == JSON
            else "the body is not declared as what is read here"
        )
        got, expected = media_type[:60] or "no content type", " or ".join(taken)
        raise UnsupportedMediaType(what, got=got, expected=expected, fix="set the Content-Type header")


def held(scope: Scope, future: asyncio.Future[list[Any]]) -> asyncio.Future[list[Any]]:
    """`future`, which ends with `ClientDisconnect` when the client leaves first: the rows are then taken back."""
    scope["state"]["future"] = future  # `BoundedProtocol.connection_lost` looks here
    return future
