"""Spans of a real service, as a real OTLP receiver gets them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from test_server import SERVE

from common.errors import UsageError
from common.serving.tracing import open_tracing

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_request_is_a_child_of_its_caller_and_holds_the_model(tmp_path: Path) -> None:
    received: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            received.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    collector = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    service = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        env=os.environ
        | {"PYTHONPATH": str(Path(__file__).parent), "OTEL_SERVICE_NAME": "lending"}
        | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}"}
        | {"OTEL_EXPORTER_OTLP_COMPRESSION": "none"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert service.stdout
    address = re.search(r"http://127\.0\.0\.1:\d+", service.stdout.readline())
    assert address
    with httpx.Client(base_url=address[0], headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}) as client:
        assert client.post("/v1/adder/predict", json={"age": 20, "note": "canary"}).status_code == 200
        assert client.post("/v1/adder/predict", json={"age": "canary"}).status_code == 422
        assert client.get("/v1/models").status_code == 200
        assert client.get("/health/live").status_code == 200
    service.terminate()  # at once: what waits must still be sent
    _, log = service.communicate(timeout=30)
    collector.shutdown()

    requests = [ExportTraceServiceRequest.FromString(content) for content in received]
    resources = [found for request in requests for found in request.resource_spans]
    assert {a.value.string_value for r in resources for a in r.resource.attributes if a.key == "service.name"} == {
        "lending"
    }
    spans = [span for found in resources for scope in found.scope_spans for span in scope.spans]
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    by_name = {span.name: span for span in spans}
    assert sorted(span.name for span in spans) == [
        "GET /v1/models",
        "POST /v1/adder/predict",
        "POST /v1/adder/predict",
        "model",
    ]
    model = by_name["model"]
    [whole] = [span for span in spans if span.span_id == model.parent_span_id]
    assert {span.parent_span_id.hex() for span in spans if span is not model} == {PARENT}
    assert whole.start_time_unix_nano <= model.start_time_unix_nano <= model.end_time_unix_nano
    assert model.end_time_unix_nano <= whole.end_time_unix_nano
    told = {a.key: a.value.string_value or a.value.int_value for a in model.attributes}
    assert told == {
        "espalier.system": "toy.adder",
        "espalier.model_version": "unversioned",
        "espalier.rows": 1,
        "espalier.role": "champion",
    }
    assert {a.value.int_value for s in spans for a in s.attributes if a.key.endswith("status_code")} == {200, 422}
    assert b"canary" not in b"".join(received)
    lines = [json.loads(line) for line in log.splitlines()]
    assert {line["trace_id"] for line in lines if line.get("route") == "/v1/adder/predict"} == {TRACE}


def test_off_unless_asked_for_and_one_sentence_when_it_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert open_tracing("toy") is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert open_tracing("toy") is None
    monkeypatch.delenv("OTEL_SDK_DISABLED")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(UsageError, match=r"traces need OpenTelemetry.*install `espalier\[otel\]`"):
        open_tracing("toy")
