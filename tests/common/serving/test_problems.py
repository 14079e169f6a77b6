from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel, ValidationError, model_validator

from common.serving.problems import invalid_body, problem_of

URL = "/v1/adder/predict"


def problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = response.json()
    assert found["status"] == status
    assert found["instance"].endswith(response.headers["x-request-id"])
    return found


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"age": 17}, {"field": "age", "got": "17", "expected": "a whole number from 18 to 75"}),
        ({"age": "x"}, {"field": "age", "got": '"x"', "expected": "a whole number from 18 to 75"}),
        ({"age": 20.5}, {"field": "age", "got": "20.5", "expected": "a whole number from 18 to 75"}),
        ({"age": None}, {"field": "age", "got": "null", "expected": "a whole number from 18 to 75"}),
        ({"amount": [1, 2]}, {"field": "amount", "got": "a list of 2 items", "expected": "a number"}),
        ({"kind": "odd"}, {"field": "kind", "got": '"odd"', "expected": "one of plain, fancy"}),
        ({"note": 3}, {"field": "note", "got": "3", "expected": "a text"}),
        (
            {"extras": [{"size": 1}, {"size": 0}]},
            {"field": "extras[1].size", "got": "0", "expected": "a whole number, above 0"},
        ),
        ({"extras": {"a": 1}}, {"field": "extras", "got": "an object with 1 fields", "expected": "a list"}),
    ],
)
def test_a_wrong_field_says_what_was_got_and_expected(
    client: TestClient, change: dict[str, Any], error: dict[str, str]
) -> None:
    found = problem(client.post(URL, json={"age": 20} | change), 422)
    assert found["errors"] == [error]
    assert found["detail"] == f"{error['field']}: not accepted: got {error['got']}, expected {error['expected']}."
    assert found["title"] == "Invalid body"


def test_missing_and_unknown_fields_are_told_together_with_the_likely_name(client: TestClient) -> None:
    found = problem(client.post(URL, json={"aeg": 20}), 422)
    assert [(e["field"], e["got"], e["fix"]) for e in found["errors"]] == [
        ("aeg", "an unknown field", "did you mean 'age'?"),
        ("age", "nothing", "add it"),
    ]
    assert found["detail"].startswith("aeg: not accepted (first of 2 errors): got an unknown field")
    assert "did you mean 'age'?" in found["detail"]


@pytest.mark.parametrize(
    ("body", "got"), [(b'{"age": 20', "EOF"), (b"", "EOF"), (b"\xff\xfe", "expected value"), (b"age=20", "expected")]
)
def test_a_body_that_is_no_json_is_400(client: TestClient, body: bytes, got: str) -> None:
    found = problem(client.post(URL, content=body, headers={"content-type": "application/json"}), 400)
    assert got in found["detail"]


def test_json_of_another_shape_is_422(client: TestClient) -> None:
    assert problem(client.post(URL, json=[1]), 422)["errors"] == [
        {"field": "the body", "got": "a list of 1 items", "expected": "an object"}
    ]


def test_an_empty_batch_and_a_long_one(client: TestClient) -> None:
    found = problem(client.post(f"{URL}/batch", json={"rows": []}), 422)
    assert found["detail"] == "rows: not accepted: got an empty list, expected at least one row; add a row."
    found = problem(client.post(f"{URL}/batch", json={"rows": [{"age": 20}] * 10_001}), 422)
    assert found["errors"][0]["expected"] == "at most 10000"


def test_a_bad_row_of_a_batch_is_named(client: TestClient) -> None:
    found = problem(client.post(f"{URL}/batch", json={"rows": [{"age": 20}, {"age": 5}, {}]}), 422)
    assert [e["field"] for e in found["errors"]] == ["rows[1].age"]


def test_huge_values_and_names_are_not_echoed(client: TestClient) -> None:
    body = {"age": "9" * 100_000, "y" * 100_000: 1} | {f"z{i}": 0 for i in range(1000)}
    response = client.post(URL, json=body)
    found = problem(response, 422)
    assert len(response.content) < 10_000
    assert len(found["errors"]) == 20
    assert "first of 1002 errors" in found["detail"]


def test_not_a_number_is_refused_without_breaking_the_answer(client: TestClient) -> None:
    found = problem(client.post(URL, content=b'{"age": NaN}', headers={"content-type": "application/json"}), 422)
    assert found["errors"][0]["field"] == "age"


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_415(client: TestClient, media_type: str) -> None:
    found = problem(client.post(URL, content=b"{}", headers={"content-type": media_type}), 415)
    assert "expected application/json" in found["detail"]


def test_json_with_a_charset_is_fine(client: TestClient) -> None:
    body = json.dumps({"age": 20})
    assert client.post(URL, content=body, headers={"content-type": "application/json; charset=utf-8"}).is_success


def test_unknown_route_and_wrong_method(client: TestClient) -> None:
    assert "no such route" in problem(client.get("/v1/nothing"), 404)["detail"]
    response = client.get(URL)
    assert "POST" in problem(response, 405)["detail"]
    assert response.headers["allow"] == "POST"


def test_a_refusal_by_the_model_keeps_its_sentence(client: TestClient) -> None:
    found = problem(client.post(URL, json={"age": 20, "note": "refuse"}), 422)
    assert found["detail"] == "note: this cannot be added: got refuse, expected another note."


def test_an_unforeseen_error_tells_nothing_of_the_inside(client: TestClient) -> None:
    response = client.post(URL, json={"age": 20, "note": "bug"}, headers={"x-request-id": "call-7"})
    assert "call-7" in problem(response, 500)["detail"]
    assert "secret" not in response.text
    assert client.post(URL, json={"age": 20}).is_success


def test_routes_of_the_system_itself_answer_the_same_way(client: TestClient) -> None:
    found = problem(client.post("/v1/adder/echo", json={"size": "x"}), 422)
    assert found["errors"][0]["field"] == "size"
    found = problem(client.post("/v1/adder/echo", content=b"{", headers={"content-type": "application/json"}), 400)
    assert "not JSON" in found["detail"]


class Window(BaseModel):
    start: int
    end: int

    @model_validator(mode="after")
    def _ordered(self) -> Window:
        if self.end <= self.start:
            raise ValueError(f"the window {self.start} to {self.end} is empty; its end must be after its start")
        return self


class Shift(BaseModel):
    windows: list[Window]


@pytest.mark.parametrize(
    ("model", "body", "where"),
    [(Window, {"start": 5, "end": 3}, "the body"), (Shift, {"windows": [{"start": 5, "end": 3}]}, "windows[0]")],
)
def test_fields_that_do_not_go_together_are_one_sentence(model: type[BaseModel], body: Any, where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate_json(json.dumps(body))
    found = problem_of(invalid_body(caught.value, model.model_json_schema()))
    assert found.detail == f"{where}: the window 5 to 3 is empty; its end must be after its start."
    assert (found.status, found.title, found.errors[0].got) == (422, "Invalid body", "an object with 2 fields")
