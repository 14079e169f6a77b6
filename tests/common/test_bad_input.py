"""Bad requests, each with its whole sentence: field, got, expected, what to do.

The rest of the list stands with its subject: bundles in `bundle/` and `test_cli.py`, downloads in
`data/test_fetch.py`, files to score in `test_tables.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from garden import SYSTEM, Grower

from common.serving.app import create_app

URL = "/v1/growth/predict"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app("garden", systems=[SYSTEM], predictors={SYSTEM.name: Grower(2)})) as client:
        yield client


@pytest.mark.parametrize(
    ("route", "body", "status", "sentence"),
    [
        (URL, {"x": "two"}, 422, 'x: not accepted: got "two", expected a number from -100 to 100.'),
        (URL, {"x": 101}, 422, "x: not accepted: got 101, expected a number from -100 to 100."),
        (URL, {}, 422, "x: not accepted: got nothing, expected a number from -100 to 100; add it."),
        (
            URL,
            {"x": 1, "colour": "green"},
            422,
            "colour: not accepted: got an unknown field, expected only known fields (x); remove it.",
        ),
        (
            f"{URL}/batch",
            {"rows": []},
            422,
            "rows: not accepted: got an empty list, expected at least one row; add a row.",
        ),
        (
            f"{URL}/batch",
            {"rows": [{"x": 1}, {"x": None}]},
            422,
            "rows[1].x: not accepted: got null, expected a number from -100 to 100.",
        ),
    ],
)
def test_a_bad_request_is_told_in_one_sentence(
    client: TestClient, route: str, body: Any, status: int, sentence: str
) -> None:
    answer = client.post(route, json=body)
    assert (answer.status_code, answer.json()["detail"]) == (status, sentence)
    assert client.post(URL, json={"x": 1}).json() == {"y": 2.0}


@pytest.mark.parametrize(("route", "limit"), [(URL, "2,097,152"), (f"{URL}/batch", "8,388,608")])
def test_ten_megabytes_are_told_in_one_sentence(client: TestClient, route: str, limit: str) -> None:
    answer = client.post(route, content=b" " * 10_000_000, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["detail"]) == (
        413,
        f"the body is too large: got 10,000,000 bytes, expected at most {limit} bytes; send fewer rows per request.",
    )
    assert client.post(URL, json={"x": 1}).json() == {"y": 2.0}
