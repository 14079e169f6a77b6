"""The case queue through a whole service: middleware, problems and OpenAPI as in production."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient
from pydantic import BaseModel

from common.config import settings
from common.serving.app import create_app
from common.serving.security.keyfile import create_key
from common.system import System
from finance.fraud_detection.case_records import EXAMPLE_ID, Alert, Label
from finance.fraud_detection.case_routes import case_routes
from finance.fraud_detection.cases import CaseQueue, open_queue

SYSTEM = System("toy.desk", "Has a queue.", "none", "minimal", (), (), predictor="absent:Absent")
BASE = "/v1/desk"
CASE = f"{BASE}/cases/{EXAMPLE_ID}"


class Nothing(BaseModel):
    x: int = 0


class Desk:
    """The least predictor that has a queue, and remembers what it was told."""

    request = response = Nothing
    queue: CaseQueue
    told: list[list[Label]]

    def predict(self, batch: Sequence[Nothing]) -> list[Nothing]:
        return list(batch)

    @classmethod
    def routes(cls, predictor: Callable[[], Desk]) -> APIRouter:
        def on_labels(labels: Sequence[Label]) -> None:
            predictor().told.append(list(labels))

        return case_routes(lambda: predictor().queue, on_labels)


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Desk]:
    """With an empty queue in the database that the settings name."""
    url = request.getfixturevalue("postgres") if request.param == "postgresql" else ""
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", url)
    settings.cache_clear()
    desk = Desk()
    desk.queue, desk.told = open_queue(settings()), []
    yield desk
    desk.queue.close()
    settings.cache_clear()
    assert (tmp_path / "fraud_cases.db").exists() == (not url)


@pytest.fixture
def client(desk: Desk) -> Iterator[TestClient]:
    with TestClient(create_app("toy", systems=[SYSTEM], predictors={"toy.desk": desk})) as client:
        yield client


def alert(id: str, amount: int = 1000) -> Alert:
    fixed: dict[str, Any] = {"time": 1, "currency": "EUR", "entities": {"customer": "C1"}, "decision": "review"}
    return Alert(id=id, amount=amount, score=0.5, model="7", reasons=[{"feature": "x", "value": 1.5}], **fixed)


def test_openapi_examples_work_as_they_stand(client: TestClient, desk: Desk) -> None:
    desk.queue.open_case(alert(EXAMPLE_ID))
    paths = client.get("/openapi.json").json()
    schemas = paths["components"]["schemas"]
    done = {}
    for path, method in [
        ("/cases", "get"),
        ("/cases/summary", "get"),
        ("/cases/{id}", "get"),
        ("/cases/{id}/assign", "post"),
        ("/cases/{id}/verdict", "post"),
        ("/labels", "post"),
    ]:
        operation, url, body = paths["paths"][BASE + path][method], BASE + path, {}
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                url = url.replace("{id}", parameter["schema"]["examples"][0])
        if "requestBody" in operation:
            name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            body = {"json": schemas[name]["examples"][0]}
        answer = client.request(method, url, **body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-model-version"]
        done[path] = answer.json()
    assert [case["id"] for case in done["/cases"]["cases"]] == [EXAMPLE_ID]
    assert done["/cases"]["cases"][0]["reasons"] == [{"feature": "x", "value": 1.5}]
    assert (done["/cases/{id}/assign"]["assignee"], done["/cases/{id}/verdict"]["state"]) == ("ann", "closed")
    assert done["/labels"] == {"stored": 2, "repeated": 0}
    assert [label["source"] for label in client.get(CASE).json()["labels"]] == ["investigator", "chargeback"]


def test_labels_are_told_once_they_are_stored_and_again_when_they_are_sent_again(
    client: TestClient, desk: Desk
) -> None:
    desk.queue.open_case(alert(EXAMPLE_ID))
    body = {"labels": [{"transaction": "a", "fraud": 1, "label_time": 7, "source": "bank"}]}
    assert client.post(f"{BASE}/labels", json=body).json() == {"stored": 1, "repeated": 0}
    assert client.post(f"{BASE}/labels", json=body).json() == {"stored": 0, "repeated": 1}
    assert desk.told == [[Label(transaction="a", fraud=1, label_time=7, source="bank")]] * 2
    client.post(f"{CASE}/verdict", json={"verdict": "legitimate", "person": "ann"})
    client.post(f"{CASE}/verdict", json={"verdict": "unsure", "person": "ann", "reopen": True})
    assert [(label.transaction, label.fraud) for [label] in desk.told[2:]] == [(EXAMPLE_ID, 0), (EXAMPLE_ID, -1)]
    refused = {"labels": [*body["labels"], {**body["labels"][0], "label_time": 2**52}]}
    assert client.post(f"{BASE}/labels", json=refused).status_code == 422
    assert len(desk.told) == 4


def test_pages_by_cursor(client: TestClient, desk: Desk) -> None:
    desk.queue.open_cases([alert(f"a {i}ä?%", 1000 + 10 * i) for i in range(5)])
    seen, cursor = [], ""
    while cursor is not None:
        page = client.get(f"{BASE}/cases", params={"limit": 2, "cursor": cursor}).json()
        seen += [case["id"] for case in page["cases"]]
        cursor = page["cursor"]
    assert seen == [f"a {i}ä?%" for i in (4, 3, 2, 1, 0)]
    assert client.get(f"{BASE}/cases/a 4ä%3F%25").json()["amount"] == 1040
    client.post(f"{BASE}/cases/a 3ä%3F%25/assign", json={"person": "bob"})
    for wanted, number in [({}, 4), ({"state": "all"}, 5), ({"state": "assigned", "assignee": "bob"}, 1)]:
        assert len(client.get(f"{BASE}/cases", params=wanted).json()["cases"]) == number
    assert client.get(f"{BASE}/cases/summary").json()["assigned"] == 1


def test_of_two_investigators_one_gets_the_case_and_the_other_is_told_who(client: TestClient, desk: Desk) -> None:
    desk.queue.open_case(alert(EXAMPLE_ID))

    def take(person: str) -> Any:
        return client.post(f"{CASE}/assign", json={"person": person})

    people = [f"p{i}" for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(take, people))
    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [200] + [409] * 5
    winner = people[statuses.index(200)]
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["title"] == "Case taken"
    assert f"{winner} has the case" in refused.json()["detail"]
    assert client.post(f"{CASE}/assign", json={"person": "eve", "instead_of": winner}).json()["assignee"] == "eve"
    other = client.post(f"{CASE}/verdict", json={"verdict": "fraud", "person": winner})
    assert (other.status_code, "eve has the case" in other.json()["detail"]) == (409, True)
    client.post(f"{CASE}/verdict", json={"verdict": "fraud", "person": "eve"})
    conflict = client.post(f"{CASE}/verdict", json={"verdict": "legitimate", "person": "eve"})
    assert (conflict.status_code, conflict.json()["title"]) == (409, "Verdict conflict")


LABEL = {"transaction": "a", "fraud": 1, "label_time": 7, "source": "bank"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/cases/none", None, 404),
        ("POST", "/cases/none/assign", {"person": "ann"}, 404),
        ("POST", "/cases/none/verdict", {"verdict": "fraud", "person": "ann"}, 404),
        ("GET", "/cases/%00", None, 422),
        ("GET", f"/cases/{'x' * 65}", None, 422),
        ("GET", "/cases?limit=0", None, 422),
        ("GET", "/cases?limit=201", None, 422),
        ("GET", "/cases?state=lost", None, 422),
        ("GET", "/cases?assignee=%00", None, 422),
        ("GET", "/cases?cursor=nonsense", None, 422),
        ("POST", f"/cases/{EXAMPLE_ID}/assign", {"person": ""}, 422),
        ("POST", f"/cases/{EXAMPLE_ID}/assign", {"person": "a\u0000"}, 422),
        ("POST", f"/cases/{EXAMPLE_ID}/assign", {"person": "a", "force": True}, 422),
        ("POST", f"/cases/{EXAMPLE_ID}/verdict", {"verdict": "maybe", "person": "ann"}, 422),
        ("POST", f"/cases/{EXAMPLE_ID}/verdict", {"verdict": "fraud", "person": "ann", "note": "\u0000"}, 422),
        ("POST", f"/cases/{EXAMPLE_ID}/verdict", {"verdict": "fraud", "person": "ann", "reopen": "yes"}, 422),
        ("POST", "/labels", {"labels": []}, 422),
        ("POST", "/labels", {"labels": [LABEL] * 1001}, 422),
        ("POST", "/labels", {"labels": [{**LABEL, "fraud": -1}]}, 422),
        ("POST", "/labels", {"labels": [{**LABEL, "fraud": True}]}, 422),
        ("POST", "/labels", {"labels": [{**LABEL, "label_time": "7"}]}, 422),
        ("POST", "/labels", {"labels": [{**LABEL, "label_time": -1}]}, 422),
        ("POST", "/labels", {"labels": [{**LABEL, "source": "investigator"}]}, 422),
        ("POST", "/labels", {"labels": [{**LABEL, "source": "Bank"}]}, 422),
        ("POST", "/labels", {"labels": [{**LABEL, "extra": 1}]}, 422),
    ],
)
def test_what_makes_no_sense_is_a_problem_and_changes_nothing(
    client: TestClient, desk: Desk, method: str, path: str, body: Any, status: int
) -> None:
    desk.queue.open_case(alert(EXAMPLE_ID))
    content = json.dumps(body) if body else None
    answer = client.request(method, BASE + path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert desk.queue.find(EXAMPLE_ID).state == "open"
    assert list(desk.queue.labels()) == []


def test_cases_and_labels_have_scopes_of_their_own_and_the_name_of_the_key_is_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scopes = ("cases:desk", "cases:other", "predict:desk", "feedback")
    keys = {scope: create_key(tmp_path / "keys.json", (scope,)) for scope in scopes}
    monkeypatch.setenv("ESPALIER_KEYS_FILE", str(tmp_path / "keys.json"))
    settings.cache_clear()
    desk.queue.open_case(alert("a"))
    with TestClient(create_app("toy", systems=[SYSTEM], predictors={"toy.desk": desk})) as client:
        for scope in scopes:
            headers, sees = {"x-api-key": keys[scope][0]}, 200 if scope == "cases:desk" else 403
            for path in ("/cases", "/cases/summary", "/cases/a"):
                assert client.get(BASE + path, headers=headers).status_code == sees
            assign = client.post(f"{BASE}/cases/a/assign", json={"person": "ann"}, headers=headers)
            verdict = {"verdict": "unsure", "person": "ann"}
            decide = client.post(f"{BASE}/cases/a/verdict", json=verdict, headers=headers)
            assert assign.status_code == decide.status_code == sees
            answer = client.post(f"{BASE}/labels", json={"labels": [LABEL]}, headers=headers)
            assert answer.status_code == (200 if scope == "feedback" else 403)
        assert client.get(f"{BASE}/cases").status_code == 401
    said = [label.person for label in desk.queue.find("a").labels if label.source != "investigator"]
    assert said == [f"key:{keys['feedback'][1].id}"]


def test_a_database_that_is_away_is_503_and_tells_nothing_of_itself() -> None:
    desk = Desk()
    desk.queue, desk.told = CaseQueue("postgresql://espalier@127.0.0.1:1/none"), []
    with TestClient(create_app("toy", systems=[SYSTEM], predictors={"toy.desk": desk})) as client:
        for answer in (client.get(f"{BASE}/cases"), client.post(f"{BASE}/labels", json={"labels": [LABEL]})):
            assert (answer.status_code, answer.json()["title"]) == (503, "Queue unavailable")
            assert "127.0.0.1" not in answer.text
    assert desk.told == []
