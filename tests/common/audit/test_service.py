"""The audit in a service: ids, labels, masks, erasure, a database that is away."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from toy_system import SYSTEM, Adder, make_bundle

import common.audit.recorder
import common.system
from common.config import settings
from common.serving.app import create_app

URL = "/v1/adder/predict"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[None]:
    entry = EntryPoint("toy.adder", "toy_system:SYSTEM", "espalier.systems")
    monkeypatch.setattr(common.system, "entry_points", lambda group: [entry])
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app("toy", {"toy.adder": make_bundle(tmp_path / "bundle", 1)}, systems=[SYSTEM])) as client:
        yield client


def test_every_answer_names_its_record(client: TestClient) -> None:
    answer = client.post(URL, json={"age": 20, "note": "divorced"}, headers={"x-request-id": "call-7"})
    found = client.get(f"/v1/decisions/{answer.headers['x-decision-id']}").json()
    assert found["output"] == answer.json()
    assert found["inputs"]["age"] == 20
    assert found["inputs"]["note"].startswith("#")
    assert (found["request_id"], found["caller"], found["role"]) == ("call-7", "anonymous", "champion")
    assert found["version"] == answer.headers["x-model-version"]
    assert found["ms"] > 0

    batch = client.post(f"{URL}/batch", json={"rows": [{"age": 20}, {"age": 30}]}).headers["x-decision-id"]
    assert client.get(f"/v1/decisions/{batch}.1").json()["inputs"]["age"] == 30
    body = {"inputs": [{"name": "age", "datatype": "INT64", "shape": [2], "data": [40, 41]}]}
    tensors = client.post("/v2/models/adder/infer", json=body).headers["x-decision-id"]
    assert client.get(f"/v1/decisions/{tensors}.1").json()["inputs"]["age"] == 41


def test_a_route_of_a_systems_own_puts_its_decisions_on_record_too(client: TestClient) -> None:
    answer = client.post("/v1/adder/add", json={"age": 20})
    found = client.get(f"/v1/decisions/{answer.headers['x-decision-id']}").json()
    assert found["output"] == answer.json()
    assert found["inputs"]["age"] == 20
    assert found["version"] == answer.headers["x-model-version"]
    assert client.app.state.slots[0].monitor is None or client.app.state.slots[0].monitor.fold() == 1
    assert "x-decision-id" not in client.post("/v1/adder/echo", json={"text": "x"}).headers


def test_fields_of_answers_that_are_hidden_are_kept_as_hashes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Adder, "sensitive", frozenset())
    monkeypatch.setattr(Adder, "hidden", frozenset({"total"}), raising=False)
    with TestClient(create_app("toy", {"toy.adder": make_bundle(tmp_path / "b", 1)}, systems=[SYSTEM])) as client:
        answer = client.post(URL, json={"age": 20})
        found = client.get(f"/v1/decisions/{answer.headers['x-decision-id']}").json()
    assert answer.json() == {"total": 21.0, "version": 1}
    assert found["output"]["version"] == 1
    assert found["output"]["total"].startswith("#")


def test_refused_requests_are_no_decisions(client: TestClient) -> None:
    assert "x-decision-id" not in client.post(URL, json={"age": 200}).headers


def test_labels_come_back(client: TestClient) -> None:
    decision = client.post(URL, json={"age": 20}).headers["x-decision-id"]
    body = {"labels": [{"decision": decision, "label": 1}]}
    assert client.post("/v1/feedback", json=body).json() == {"stored": 1, "repeated": 0}
    assert client.post("/v1/feedback", json=body).json() == {"stored": 0, "repeated": 1}
    assert client.get(f"/v1/decisions/{decision}").json()["label"] == 1
    assert 'espalier_label_delay_seconds_count{system="toy.adder"} 1.0' in client.get("/metrics").text
    other = client.post("/v1/feedback", json={"labels": [{"decision": decision, "label": 0}]})
    assert (other.status_code, other.headers["content-type"]) == (409, "application/problem+json")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'{"labels": [{"decision": "%s", "label": 1}]}' % (b"0" * 24), 404),
        (b'{"labels": [{"decision": "%s.99999", "label": 1}]}' % (b"0" * 24), 404),
        (b'{"labels": [{"decision": "\' or 1=1 --", "label": 1}]}', 422),
        (b'{"labels": [{"decision": "%s", "label": NaN}]}' % (b"0" * 24), 422),
        (b'{"labels": [{"decision": "%s", "label": 1e400}]}' % (b"0" * 24), 422),
        (b'{"labels": [{"decision": "%s", "label": {"a": 1}}]}' % (b"0" * 24), 422),
        (b'{"labels": [{"decision": "%s", "label": 123456789012345678901234567890}]}' % (b"0" * 24), 404),
        (b'{"labels": []}', 422),
        (b"[" * 50_000, 422),
        (b"", 422),
    ],
)
def test_labels_that_make_no_sense(client: TestClient, content: bytes, status: int) -> None:
    answer = client.post("/v1/feedback", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (status, 400), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_subject_is_erased_and_never_stored_in_clear(client: TestClient, tmp_path: Path) -> None:
    headers = {"x-subject-key": "customer-4711"}
    kept = client.post(URL, json={"age": 20, "note": "divorced"}).headers["x-decision-id"]
    gone = client.post(URL, json={"age": 21, "note": "divorced"}, headers=headers).headers["x-decision-id"]
    assert client.get(f"/v1/decisions/{gone}").status_code == 200
    for file in tmp_path.rglob("tables.db*"):
        assert b"customer-4711" not in file.read_bytes()
    assert client.post("/v1/erasure", json={"subject": "customer-4711"}).json() == {"decisions": 1}
    assert client.post("/v1/erasure", json={"subject": "customer-4711"}).json() == {"decisions": 0}
    assert client.get(f"/v1/decisions/{gone}").status_code == 404
    assert client.get(f"/v1/decisions/{kept}").status_code == 200


def test_metrics_tell_what_is_on_record(client: TestClient) -> None:
    decision = client.post(f"{URL}/batch", json={"rows": [{"age": 20}] * 5}).headers["x-decision-id"]
    client.get(f"/v1/decisions/{decision}")  # waits for it
    text = client.get("/metrics").text
    assert "espalier_audit_written_rows_total 5.0" in text
    assert "espalier_audit_queued_rows 0.0" in text
    assert "espalier_audit_dropped_rows_total 0.0" in text


def test_a_database_that_is_away_stops_no_answer_unless_it_is_required(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://espalier@127.0.0.1:1/none")
    monkeypatch.setattr(common.audit.recorder, "MOST_ROWS", 3)
    monkeypatch.setattr(common.audit.recorder, "CLOSE_S", 0.1)
    bundle = make_bundle(tmp_path / "bundle", 1)
    for required in (False, True):
        monkeypatch.setenv("ESPALIER_AUDIT_REQUIRED", str(required))
        settings.cache_clear()
        with TestClient(create_app("toy", {"toy.adder": bundle}, systems=[SYSTEM])) as client:
            statuses = [client.post(URL, json={"age": 20}).status_code for _ in range(5)]
            assert statuses == ([200] * 3 + [503] * 2 if required else [200] * 5)
            dropped = 0.0 if required else 2.0
            assert f"espalier_audit_dropped_rows_total {dropped}" in client.get("/metrics").text
            unknown = client.post("/v1/feedback", json={"labels": [{"decision": "0" * 24, "label": 1}]})
            assert (unknown.status_code, "127.0.0.1" in unknown.text) == (503, False)


def test_what_waits_is_bounded_in_bytes_too(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.post(URL, json={"age": 20})
    assert "espalier_audit_dropped_rows_total 0.0" in client.get("/metrics").text
    monkeypatch.setattr(common.audit.recorder, "MOST_BYTES", 0)
    client.post(URL, json={"age": 20})
    assert "espalier_audit_dropped_rows_total 1.0" in client.get("/metrics").text


def test_a_predictor_of_a_notebook_is_not_on_record() -> None:
    with TestClient(create_app("toy", systems=[SYSTEM], predictors={"toy.adder": Adder(1)})) as client:
        assert "x-decision-id" not in client.post(URL, json={"age": 20}).headers
