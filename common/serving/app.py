"""The one app factory: every system of a vertical as typed routes, with health, metrics and an index."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from common import __version__
from common.audit.gauges import AuditGauges
from common.audit.routes import audit_routes
from common.audit.setup import open_recorder
from common.config import settings
from common.console.mount import add_console, wanted
from common.errors import UsageError
from common.monitoring.gauges import MonitorGauges
from common.monitoring.online import Monitor
from common.monitoring.routes import monitor_routes
from common.serving.cards import card_of, card_routes
from common.serving.deployments import deployment_routes
from common.serving.lanes import Service
from common.serving.limits import Limits
from common.serving.metrics import Metrics
from common.serving.names import unique_names
from common.serving.observe import Observe, Record
from common.serving.pages import add_docs
from common.serving.pages import index as page
from common.serving.predict import add_routes, own_route, pinned
from common.serving.problems import ProblemDetails, install
from common.serving.security.describe import add_refusals, add_security
from common.serving.security.guard import Gate
from common.serving.security.setup import secure
from common.serving.slot import Slot, Status
from common.serving.tracing import open_tracing
from common.serving.v2.documents import show_examples
from common.serving.v2.routes import add_inference_v2
from common.serving.watch import Watch
from common.system import Predictor, System, in_vertical


class Readiness(BaseModel):
    """Whether requests can be answered; for each system its state, and the reason of a bad one."""

    status: Literal["ready", "not ready"]
    systems: dict[str, Status]
    reasons: dict[str, str]


def create_app(
    vertical: str,
    bundles: Mapping[str, Path] | None = None,
    *,
    predictors: Mapping[str, Predictor] | None = None,
    systems: Sequence[System] | None = None,
    limits: Limits | None = None,
) -> Service:
    """The service of one vertical.

    `bundles` maps full system names to bundle folders; a system without one gets its newest trained bundle,
    and without any it is listed as untrained while the others serve. `predictors` are served as they are and
    `systems` replaces the vertical's registered ones (both for tests and notebooks).

    A predictor may say `inline = True` or `False` (see `Batcher`), take larger bodies than the limits allow by its
    `body_bytes` and more time by its `deadline_s` (attributes of the class), and add routes of its own, for streams or
    jobs, by a classmethod `routes(get_predictor) -> APIRouter`; they appear under `/v1/<system>`, and one that decides
    tells `request.state.decided` (see `Decided`), so that audit log and monitor see it. What it counts itself
    a classmethod `gauges(get_predictor) -> Collector` gives to Prometheus; the getter gives None until one is loaded.
    The `close()` of the last predictor is called when the service ends.

    Raises `SystemUnavailable` for an unknown vertical and `UsageError` for a bundle of none of its systems.
    """
    limits, bundles, predictors = limits or Limits(), bundles or {}, predictors or {}
    systems = in_vertical(vertical, may_be_empty=True) if systems is None else systems
    names = [system.name for system in systems]
    for name in (*bundles, *predictors):
        if name not in names:
            expected = f"one of {', '.join(names)}" if names else "none, as this vertical has no system yet"
            raise UsageError("no such system in this service", got=repr(name), expected=expected)

    metrics = Metrics(lambda: [slot.state() for slot in slots])
    slots: list[Slot] = []

    def monitors() -> list[Monitor]:
        return [slot.monitor for slot in slots if slot.monitor]

    recorder = open_recorder(settings())
    watch = Watch(recorder)

    @asynccontextmanager
    async def lifespan(app: Service) -> AsyncIterator[None]:
        if recorder:
            recorder.start()
        for slot in slots:
            await slot.load()
        yield
        if app.console:
            await app.console.close()
        for slot in slots:
            await slot.close()
        await asyncio.to_thread(close_v2)
        if recorder:
            await asyncio.to_thread(recorder.close)
        if app.tracing:
            await asyncio.to_thread(app.tracing.close)

    app = Service(
        docs_url=None,
        redoc_url=None,
        title=f"Espalier {vertical}",
        version=__version__,
        summary="Every answer has X-Request-Id and X-Model-Version; every refusal is application/problem+json.",
        description="\n".join(f"### {system.name}\n\n{system.summary}\n\n{system.purpose}" for system in systems),
        lifespan=lifespan,
        dependencies=[Depends(unique_names)],
    )
    app.state.metrics, app.state.slots = metrics, slots
    install(app, metrics.rejected)
    record = Record(metrics)
    most_bytes = partial(_most_bytes, slots, limits)
    app.add_middleware(Observe, record=record, rejected=metrics.rejected, most_body_bytes=most_bytes)
    gate = secure(app, settings(), names, metrics.rejected)
    app.tracing = open_tracing(vertical)
    app.shorten(gate, record, metrics.rejected, limits.requests)
    for system in systems:
        on_batch = metrics.batch_rows.labels(system.name).observe
        slot = Slot(system, bundles.get(system.name), predictors.get(system.name), limits, on_batch)
        slots.append(slot)
        if slot.kind:
            add_routes(app, slot, limits, watch)
            slot.on_live = partial(_on_live, app, slot, limits, watch)
            if hasattr(slot.kind, "gauges"):
                metrics.registry.register(slot.kind.gauges(lambda slot=slot: slot.predictor))
            if hasattr(slot.kind, "routes"):
                router = slot.kind.routes(lambda slot=slot: pinned(slot))
                prefix = f"/v1/{system.short_name}"
                gate.policy.allow_own(system.name, prefix, router.routes)
                app.include_router(
                    router,
                    prefix=prefix,
                    tags=[system.short_name],
                    dependencies=[Depends(own_route(slot, prefix, watch))],
                )
    close_v2 = add_inference_v2(app, slots, limits, watch)
    metrics.registry.register(MonitorGauges(monitors))
    app.include_router(monitor_routes(monitors))
    app.include_router(deployment_routes(slots, recorder))
    if recorder:
        metrics.registry.register(AuditGauges(recorder))
        app.include_router(audit_routes(recorder, monitors, metrics.registry))
    _add_service_routes(app, vertical, slots, limits)
    app.include_router(card_routes(app, slots, limits))
    add_docs(app)
    _describe_problems(app, slots, gate)
    if wanted(settings()):
        app.console = add_console(app, slots, limits)
    return app


def _most_bytes(slots: Sequence[Slot], limits: Limits, path: str) -> int:
    """Of a body sent to `path`: only what leads to a predictor that takes large ones may have more than a batch."""
    sizes = [limits.batch_body_bytes]
    for slot in slots:
        short, full = slot.system.short_name, slot.system.name
        if path.startswith((f"/v1/{short}/predict", f"/v2/models/{short}/", f"/v2/models/{full}/", "/console/")):
            sizes.append(slot.body_bytes)
    return max(sizes)


def _on_live(app: Service, slot: Slot, limits: Limits, watch: Watch) -> None:
    add_routes(app, slot, limits, watch)
    watch.begin(slot.monitor)


def _add_service_routes(app: Service, vertical: str, slots: Sequence[Slot], limits: Limits) -> None:
    @app.get("/health/live", tags=["service"], summary="The process answers.")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get(
        "/health/ready",
        tags=["service"],
        summary="Every bundle is loaded and has passed its self-test.",
        responses={503: {"description": "Something is loading, has failed, or nothing serves", "model": Readiness}},
        response_model=Readiness,
    )
    async def ready() -> JSONResponse:
        # An untrained system is no fault of the service, as long as something serves.
        states = {slot.system.name: slot.status for slot in slots}
        fine = "ready" in states.values() and not {"failed", "loading"} & set(states.values())
        reasons = {slot.system.name: slot.reason for slot in slots if slot.reason}
        content = {"status": "ready" if fine else "not ready", "systems": states, "reasons": reasons}
        return JSONResponse(content, 200 if fine else 503)

    @app.get("/metrics", tags=["service"], summary="Prometheus metrics.", response_class=Response)
    async def metrics() -> Response:
        return Response(generate_latest(app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        console = app.console is not None and app.console.ready
        return HTMLResponse(page(vertical, [card_of(app, slot, limits) for slot in slots], console=console))


def _describe_problems(app: FastAPI, slots: Sequence[Slot], gate: Gate) -> None:
    """Name the problem schema in OpenAPI once, to which the routes refer, and fill in examples of live models."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        schema = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        add_security(document, gate)
        add_refusals(document)
        show_examples(document, slots)
        schemas |= {**schema.pop("$defs", {}), "ProblemDetails": schema}
        return document

    app.openapi = openapi  # type: ignore[method-assign]
