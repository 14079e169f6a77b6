"""OpenTelemetry traces (the extra `otel`), on when `OTEL_EXPORTER_OTLP_ENDPOINT` says where they go.

One span for each request, a child of the caller's `traceparent`, and in it one for the model with what it waited for.
Nothing of a request or an answer is in them. The other `OTEL_*` variables (sampler, headers, service name) hold too.
"""

from __future__ import annotations

import os
import time
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from common import __version__
from common.errors import UsageError

QUIET = ("/health/", "/metrics", "/v2/health/")


class Tracing:
    """Spans of one service; `close` sends what is left."""

    def __init__(self, vertical: str) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ModuleNotFoundError as error:
            raise UsageError(
                "traces need OpenTelemetry",
                where="OTEL_EXPORTER_OTLP_ENDPOINT",
                got=f"no {error.name}",
                fix="install `espalier[otel]`",
            ) from None
        name = os.environ.get("OTEL_SERVICE_NAME") or f"espalier-{vertical}"
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": name, "service.version": __version__})
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("espalier", __version__)
        self._callers = TraceContextTextMapPropagator()
        self._server, self._failed, self._within = SpanKind.SERVER, StatusCode.ERROR, set_span_in_context

    async def around(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request within a span."""
        if scope["path"].startswith(QUIET):
            return await app(scope, receive, send)
        given = {"traceparent": _header(scope, b"traceparent"), "tracestate": _header(scope, b"tracestate")}
        span = self._tracer.start_span(scope["method"], self._callers.extract(given), kind=self._server)
        state: dict[str, Any] = scope.setdefault("state", {})
        state["trace_id"] = f"{span.get_span_context().trace_id:032x}"
        try:
            return await app(scope, receive, send)
        finally:
            self._end(span, scope, state)

    def close(self) -> None:
        """Send what waits; blocks for a few seconds at most when nobody takes it."""
        self._provider.shutdown()

    def _end(self, span: Any, scope: Scope, state: dict[str, Any]) -> None:
        route, status = state.get("answered_route", "unmatched"), state.get("status", 0)
        span.update_name(f"{scope['method']} {route}")
        span.set_attribute("http.request.method", scope["method"])
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        span.set_attribute("espalier.request_id", state.get("request_id", ""))
        if status >= 500:
            span.set_status(self._failed)
        if model := state.get("model"):
            live, rows, asked, answered = model
            offset = time.time() - time.perf_counter()  # from the clock of durations to that of the day
            inner = self._tracer.start_span("model", self._within(span), start_time=int((asked + offset) * 1e9))
            inner.set_attribute("espalier.system", live.system)
            inner.set_attribute("espalier.model_version", live.version)
            inner.set_attribute("espalier.rows", rows)
            inner.set_attribute("espalier.role", state.get("role", "champion"))
            inner.end(int((answered + offset) * 1e9))
        span.end()


def open_tracing(vertical: str) -> Tracing | None:
    """None unless the environment asks for traces; raises `UsageError` when it does and OpenTelemetry is missing."""
    asked = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return Tracing(vertical) if asked and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true" else None


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")
