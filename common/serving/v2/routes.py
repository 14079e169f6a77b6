"""The Open Inference Protocol V2 (KServe, Triton) beside the typed routes, for clients that already exist.

A model is a system's short (or full) name, its version that of the live bundle. Refusals are problem+json with the
member `error` that the protocol's clients read. From `TABLE_ROWS` rows up, a predictor that offers `predict_table`
answers with the table's columns, unless the request names outputs that the table lacks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

from fastapi import FastAPI
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from common import __version__
from common.errors import DeadlineExceeded, EspalierError, RequestError, SystemUnavailable
from common.serving.batcher import Batcher
from common.serving.body import read_all
from common.serving.limits import Limits
from common.serving.predict import held
from common.serving.problems import Malformed, UnsupportedMediaType, invalid_body, respond, shown_value
from common.serving.slot import Live, Slot
from common.serving.v2.documents import Shown, add_documented
from common.serving.v2.fields import check_inputs, contract
from common.serving.v2.rows import Output, of_rows, of_table, some_rows, takes_columns, to_columns, to_rows
from common.serving.v2.schema import InferenceRequest
from common.serving.v2.tensors import Decoded, read_request, write_response, wrong

if TYPE_CHECKING:
    import pyarrow

    from common.tables import Column

TABLE_ROWS = 256
SHADOWED_ROWS = 64  # of a large request; a challenger would take longer for all of them than the champion
LARGE_BYTES = 16 * 1024  # a larger body is decoded off the event loop (from about half a millisecond)
WAITING_TABLES = 16  # large requests that may wait for the tables' thread before 503
MEDIA_TYPES = (b"", b"application/json", b"application/octet-stream")
JSON_BYTES = b"inference-header-content-length"

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]


class Watcher(Protocol):
    """What is told of every answer, and may refuse to let one be given; returns headers for it."""

    def admit(self) -> None: ...  # noqa: D102
    def rows(self, scope: Scope, live: Live, requests: Sequence[Any], answers: Sequence[Any]) -> Headers: ...  # noqa: D102
    def table(self, scope: Scope, live: Live, columns: Mapping[str, Column], table: pyarrow.Table) -> Headers: ...  # noqa: D102
    def shadow(  # noqa: D102
        self, slot: Slot, scope: Scope, body: bytes, batch: bool, answers: Sequence[Any], decision: Headers
    ) -> None: ...


class UnknownModel(RequestError):
    """The service has no such model, or another version of it is live."""

    status = 404


def add_inference_v2(
    app: FastAPI,
    slots: Sequence[Slot],
    limits: Limits,
    watch: Watcher,
) -> Callable[[], None]:
    """Add the routes under `/v2`; returns what ends their thread, to be called (off the event loop) at shutdown.

    `watch` sees every answered request on the event loop, for audit and monitor. `app.state.metrics` must be set.
    """
    lanes: list[Batcher] = []

    def large(job: Callable[[], Any]) -> asyncio.Future[list[Any]]:
        """Run a job on the thread of large requests, one at a time: it is a batcher, so it has a bounded queue,
        deadlines and thread counts like a model."""
        if not lanes:
            bounds = replace(limits, queued_rows=WAITING_TABLES, model_rows=1)
            lanes.append(Batcher(lambda jobs: [job() for job in jobs], bounds, name="tables"))
        return lanes[0].submit([job])

    def slot_of(scope: Scope) -> Slot:
        name = scope["path_params"]["model"]
        for slot in slots:
            if name in (slot.system.short_name, slot.system.name):
                return slot
        known = ", ".join(slot.system.short_name for slot in slots)
        raise UnknownModel("no such model in this service", got=shown_value(name), expected=f"one of {known}")

    def live_of(scope: Scope) -> tuple[Slot, Live]:
        slot = slot_of(scope)
        live, version = slot.live(), scope["path_params"].get("version", "")
        if version and version != live.version:
            got, expected = shown_value(version), live.version
            raise UnknownModel("this version is not live", where=slot.system.short_name, got=got, expected=expected)
        return slot, live

    async def server(scope: Scope, receive: Receive, send: Send) -> None:
        content = {"name": f"espalier {app.title}", "version": __version__, "extensions": ["binary_tensor_data"]}
        await _send_json(send, content)

    async def server_live(scope: Scope, receive: Receive, send: Send) -> None:
        await _send_json(send, {"live": True})

    async def server_ready(scope: Scope, receive: Receive, send: Send) -> None:
        states = {slot.status for slot in slots}
        if "ready" not in states or states & {"failed", "loading"}:
            raise SystemUnavailable("the service is not ready", fix="see /health/ready")
        await _send_json(send, {"ready": True})

    async def model(scope: Scope, receive: Receive, send: Send) -> None:
        slot, live = live_of(scope)
        tensors = contract(live.predictor.request, live.predictor.response)
        content = {
            "name": slot.system.short_name,
            "versions": [live.version],
            "platform": "espalier",
            "inputs": tensors.metadata("inputs"),
            "outputs": tensors.metadata("outputs"),
        }
        await _send_json(send, content, live)

    async def model_ready(scope: Scope, receive: Receive, send: Send) -> None:
        slot, live = live_of(scope)
        await _send_json(send, {"name": slot.system.short_name, "ready": True}, live)

    async def infer(scope: Scope, receive: Receive, send: Send) -> None:
        with slot_of(scope).room.hold(scope, receive, limits.batch_body_bytes) as held_receive:
            await infer_held(scope, held_receive, send)

    async def infer_held(scope: Scope, receive: Receive, send: Send) -> None:
        watch.admit()
        slot, live = live_of(scope)
        json_bytes = _json_bytes(scope)
        body = await read_all(scope, receive, max(limits.batch_body_bytes, slot.body_bytes))
        if "version" not in scope["path_params"]:
            live = slot.choose(scope)
        try:
            async with asyncio.timeout(slot.limits.deadline_s):
                asked, outputs, decision = await answer(scope, live, body, json_bytes, receive)
                head = {"model_name": slot.system.short_name, "model_version": live.version}
                head |= {"id": asked.id} if asked.id is not None else {}

                def write() -> tuple[bytes, int]:
                    return write_response(head, outputs, _binary(asked, outputs))

                many = len(outputs) > 0 and len(outputs[0][2]) >= TABLE_ROWS
                content, json_part = (await held(scope, large(write)))[0] if many else write()
        except TimeoutError:
            expected = f"one within {slot.limits.deadline_s:g} s"
            raise DeadlineExceeded("no answer in time", expected=expected, fix="send fewer rows") from None
        await _send(send, content, live, json_part, decision)
        if slot.rival:
            shadowed, told = scope["state"]["answered"]()
            watch.shadow(slot, scope, to_json({"rows": shadowed}, inf_nan_mode="null"), True, told, decision)

    async def answer(
        scope: Scope, live: Live, body: bytes, json_bytes: int | None, receive: Receive
    ) -> tuple[InferenceRequest, list[Output], Headers]:
        predictor, wire = live.predictor, live.wires[1]
        tensors = contract(predictor.request, predictor.response)

        def decode() -> tuple[InferenceRequest, dict[str, Decoded], int]:
            asked, inputs, rows = read_request(body, json_bytes, limits.batch_rows)
            for output in asked.outputs:
                if output.name not in tensors.outputs:
                    known = ", ".join(tensors.outputs)
                    raise wrong("outputs", shown_value(output.name), f"one of {known}")
            return asked, check_inputs(inputs, tensors.inputs), rows

        def score() -> tuple[Any, Any, list[Output] | None]:
            columns = to_columns(inputs, predictor, tensors, rows)
            table = predictor.predict_table(columns)  # type: ignore[attr-defined]
            return columns, table, of_table(table, tensors, wanted)

        def validate() -> Any:
            try:
                return wire.validate(to_rows(inputs, tensors.inputs)).rows
            except ValidationError as error:
                raise invalid_body(error, wire.schema) from None

        async def run(job: Callable[[], Any], is_large: bool) -> Any:
            return (await held(scope, large(job)))[0] if is_large else job()

        asked, inputs, rows = await run(decode, len(body) > LARGE_BYTES)
        wanted = list(dict.fromkeys(output.name for output in asked.outputs))
        if rows >= TABLE_ROWS and takes_columns(predictor, tensors):
            started = time.perf_counter()
            columns, table, outputs = await run(score, True)
            scope["state"]["model"] = live, rows, started, time.perf_counter()
            if outputs is not None:
                scope["state"]["answered"] = lambda: _sample(columns, table)
                return asked, outputs, watch.table(scope, live, columns, table)
        requests = await run(validate, rows >= TABLE_ROWS)
        started = time.perf_counter()
        answers = await held(scope, live.batcher.submit(requests))
        scope["state"]["model"] = live, rows, started, time.perf_counter()
        scope["state"]["answered"] = lambda: (requests, answers)
        decision = watch.rows(scope, live, requests, answers)
        return asked, await run(lambda: of_rows(answers, tensors, wanted), rows >= TABLE_ROWS), decision

    def route(path: str, handler: Handler, shown: Shown) -> None:
        add_documented(app, path, _refusing(app, handler), shown)

    route("/v2", server, Shown("server", "Name, version and extensions of the server."))
    route("/v2/health/live", server_live, Shown("live", "The process answers."))
    route("/v2/health/ready", server_ready, Shown("ready", "Every bundle is loaded and has passed its self-test."))
    for version in ("", "/versions/{version}"):
        prefix, kind = f"/v2/models/{{model}}{version}", "_version" if version else ""
        route(prefix, model, Shown(f"model{kind}", "Tensors and live version of a model."))
        route(f"{prefix}/ready", model_ready, Shown(f"model{kind}_ready", "The model answers."))
        route(f"{prefix}/infer", infer, Shown(f"infer{kind}", "Answers for rows sent as tensors.", infers=True))

    def close() -> None:
        for lane in lanes:
            lane.close()

    return close


def _refusing(app: FastAPI, handler: Handler) -> ASGIApp:
    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await handler(scope, receive, send)
        except (EspalierError, HTTPException) as error:
            response = respond(error, scope["state"]["request_id"], app.state.metrics.rejected, scope["path"])
            await response(scope, receive, send)

    return asgi


def _sample(columns: Mapping[str, Column], table: pyarrow.Table) -> tuple[list[dict[str, Any]], list[SimpleNamespace]]:
    requests, answers = some_rows(columns, table, SHADOWED_ROWS)
    return requests, [SimpleNamespace(**answer) for answer in answers]


def _json_bytes(scope: Scope) -> int | None:
    """The header Inference-Header-Content-Length; refuses other media types and compressed bodies."""
    headers = dict(scope["headers"])
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if media_type not in MEDIA_TYPES or encoding != b"identity":
        got = (media_type if encoding == b"identity" else encoding).decode("latin-1")[:60]
        expected = "application/json or application/octet-stream, not compressed"
        raise UnsupportedMediaType("the body cannot be read", got=got, expected=expected)
    length = headers.get(JSON_BYTES)
    if length is None:
        return None
    if not length.isdigit() or len(length) > 12:
        got = shown_value(length.decode("latin-1"))
        raise Malformed("wrong Inference-Header-Content-Length", got=got, expected="the bytes of the JSON part")
    return int(length)


def _binary(asked: InferenceRequest, outputs: Sequence[Output]) -> set[str]:
    every = asked.parameters.binary_data_output
    said = {output.name: output.parameters.binary_data for output in asked.outputs}
    return {name for name, _, _ in outputs if (every if said.get(name) is None else said[name])}


async def _send_json(send: Send, content: Any, live: Live | None = None) -> None:
    await _send(send, to_json(content), live)


async def _send(send: Send, content: bytes, live: Live | None, json_part: int = 0, decision: Headers = ()) -> None:
    kind = b"application/octet-stream" if json_part else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(content)).encode()), *decision]
    if live:
        headers += [header for header in live.headers if header[0] != b"content-type"]
    if json_part:
        headers.append((JSON_BYTES, str(json_part).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})
