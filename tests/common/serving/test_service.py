from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from toy_system import SYSTEM, Adder

from common.errors import SystemUnavailable, UsageError
from common.serving.app import create_app
from common.serving.limits import Limits
from common.serving.observe import JsonLines

URL = "/v1/adder/predict"


def test_one_request_and_a_batch_give_the_same_answers(client: TestClient) -> None:
    rows = [{"age": age, "amount": age / 3} for age in range(18, 76)]
    alone = [client.post(URL, json=row).json() for row in rows]
    assert alone[0] == {"total": 25.0, "version": 1}
    assert client.post(f"{URL}/batch", json={"rows": rows}).json() == {"rows": alone}


def test_headers_tell_the_request_and_the_model(client: TestClient) -> None:
    given = client.post(URL, json={"age": 20}, headers={"x-request-id": "call-7"})
    assert given.headers["x-request-id"] == "call-7"
    assert given.headers["x-model-version"] == "unversioned"
    assert given.headers["content-type"] == "application/json"
    assert "x-espalier-simulated" not in given.headers
    made = client.post(URL, json={"age": 20}, headers={"x-request-id": 'bad id "'})
    assert made.headers["x-request-id"] not in ("", 'bad id "')


def test_openapi_has_the_types_and_the_problem(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"][URL]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    schemas = document["components"]["schemas"]
    assert schemas[body.rpartition("/")[2]]["properties"]["age"]["maximum"] == 75
    assert set(schemas[answer.rpartition("/")[2]]["properties"]) == {"total", "version"}
    assert set(operation["responses"]["422"]["content"]) == {"application/problem+json"}
    assert "errors" in schemas["ProblemDetails"]["properties"]
    assert "FieldError" in schemas


def test_openapi_tells_what_a_system_is_for_and_what_it_cannot_tell() -> None:
    system = replace(SYSTEM, intended_use="For adding.", limits=("Not for subtraction.",))
    with TestClient(create_app("toy", systems=[system], predictors={system.name: Adder()})) as client:
        document = client.get("/openapi.json").json()
    described = [document["info"], *(document["paths"][path]["post"] for path in (URL, f"{URL}/batch"))]
    for text in (part["description"] for part in described):
        assert "**Intended use.** For adding." in text
        assert "- Not for subtraction." in text


def test_a_system_can_add_routes_of_its_own(client: TestClient) -> None:
    assert client.get("/v1/adder/offset").json() == 1


def test_health_models_metrics_and_index(client: TestClient) -> None:
    client.post(URL, json={"age": 20})
    client.post(URL, json={"age": 200})
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json()["systems"] == {"toy.adder": "ready"}
    [card] = client.get("/v1/models").json()
    assert (card["system"], card["status"], card["risk"]) == ("toy.adder", "ready", "minimal")
    assert card["routes"][:2] == [URL, f"{URL}/batch"]
    page = client.get("/").text
    assert "toy.adder" in page
    assert f"POST {URL}" in page
    metrics = client.get("/metrics").text
    assert f'espalier_request_seconds_count{{route="{URL}",status="200"}} 1.0' in metrics
    assert 'espalier_rejected_requests_total{reason="invalid-body"} 1.0' in metrics
    assert 'espalier_batch_rows_count{system="toy.adder"} 1.0' in metrics
    assert 'espalier_queued_rows{system="toy.adder"} 0.0' in metrics


def test_unknown_paths_share_one_metric_series(client: TestClient) -> None:
    for guess in ("/admin", "/.env"):
        client.get(guess)
    metrics = client.get("/metrics").text
    assert 'espalier_request_seconds_count{route="unmatched",status="404"} 2.0' in metrics
    assert ".env" not in metrics


def test_two_apps_in_one_process_keep_their_own_numbers(client: TestClient) -> None:
    client.post(URL, json={"age": 20})
    with TestClient(create_app("toy", systems=[SYSTEM], predictors={"toy.adder": Adder()})) as other:
        assert 'status="200"' not in other.get("/metrics").text


def test_the_log_has_one_json_line_per_request_and_no_values(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "espalier.access"):
        client.post(f"{URL}?token=hidden", json={"age": 44, "note": "private"}, headers={"x-request-id": "call-7"})
    [record] = [r for r in caplog.records if r.name == "espalier.access"]
    line = json.loads(JsonLines().format(record))
    assert line.pop("ms") > 0
    assert line.pop("time")
    expected = {"level": "info", "message": "request", "request_id": "call-7", "route": URL, "status": 200}
    assert line == expected


@pytest.fixture
def small() -> Iterator[TestClient]:
    limits = Limits(body_bytes=200, batch_body_bytes=400)
    with TestClient(create_app("toy", systems=[SYSTEM], predictors={"toy.adder": Adder()}, limits=limits)) as client:
        yield client


@pytest.mark.parametrize(("url", "limit"), [(URL, 200), (f"{URL}/batch", 400)])
def test_a_body_over_the_limit_is_413(small: TestClient, url: str, limit: int) -> None:
    response = small.post(url, json={"note": "x" * 1000})
    assert response.status_code == 413
    assert f"expected at most {limit} bytes" in response.json()["detail"]


def test_the_limit_holds_for_the_systems_own_routes(small: TestClient) -> None:
    response = small.post("/v1/adder/echo", json={"size": 1, "more": "x" * 1000})
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"
    assert "expected at most 400 bytes" in response.json()["detail"]


def test_overload_is_503_with_retry_after() -> None:
    limits = Limits(queued_rows=0, deadline_s=5)
    app = create_app("toy", systems=[SYSTEM], predictors={"toy.adder": Adder()}, limits=limits)
    with TestClient(app) as client:
        batcher = app.state.slots[0].live().batcher
        batcher._submitted += 1  # one row waits for ever
        response = client.post(URL, json={"age": 20})
        batcher._submitted -= 1
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.json()["title"] == "Overloaded"


def test_an_unknown_vertical_and_a_bundle_of_no_system_are_refused_at_once(registered: None) -> None:
    with pytest.raises(SystemUnavailable, match="no system in this vertical: got 'farming', expected one of toy"):
        create_app("farming")
    with pytest.raises(UsageError, match=r"got 'toy\.missing', expected one of toy\.adder, toy\.other"):
        create_app("toy", predictors={"toy.missing": Adder()})
