from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from common.monitoring.online import Monitor
from common.monitoring.routes import NotWatched, monitor_routes


def test_json_and_page_of_live_monitors(
    reference: dict[str, dict[str, Any]], records: Callable[..., list[dict[str, Any]]]
) -> None:
    monitor = Monitor(reference, system="branch.system", version="7")
    for row in records(400):
        monitor.observe({name: row[name] for name in ("amount", "kind", "flag")}, {"score": row["score"] + 100})
    monitor.fold()
    monitor.judge()
    app = FastAPI()
    app.include_router(monitor_routes(lambda: [monitor]))
    with TestClient(app) as client:
        (found,) = client.get("/v1/monitor").json()
        assert {alarm["kind"] for alarm in found["windows"][-1]["alarms"]} == {"prediction_drift", "out_of_range"}
        answer = client.get("/v1/monitor/system")
        assert answer.headers["content-type"].startswith("text/html")
        assert "2 alarms: score." in answer.text
        assert client.get("/v1/monitor/system").text == answer.text
        with pytest.raises(NotWatched, match="one of system"):
            client.get("/v1/monitor/other")


def test_before_any_request(reference: dict[str, dict[str, Any]]) -> None:
    app = FastAPI()
    app.include_router(monitor_routes(lambda: [Monitor(reference, system="branch.system")]))
    assert "No rows yet" in TestClient(app).get("/v1/monitor/system").text
