"""A predictor that takes large bodies, beside one that does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from toy_system import OTHER, SYSTEM, Adder

from common.errors import Overloaded
from common.serving.app import create_app
from common.serving.body import Room
from common.serving.limits import Limits

LIMITS = Limits(body_bytes=200, batch_body_bytes=400, large_bodies_bytes=4000)
BIG = {"age": 20, "note": "x" * 1000}


class Large(Adder):
    body_bytes = 3000
    deadline_s = 60.0


@pytest.fixture
def client() -> Iterator[TestClient]:
    large = replace(SYSTEM, predictor="test_large_bodies:Large")
    given = {"toy.adder": Large(), "toy.other": Adder()}
    with TestClient(create_app("toy", systems=[large, OTHER], predictors=given, limits=LIMITS)) as client:
        yield client


def v2(note: str) -> dict[str, object]:
    tensors = [{"name": "age", "datatype": "INT64", "shape": [1], "data": [20]}]
    return {"inputs": [*tensors, {"name": "note", "datatype": "BYTES", "shape": [1], "data": [note]}]}


def test_only_the_predictor_that_asks_for_large_bodies_gets_them(client: TestClient) -> None:
    assert client.post("/v1/adder/predict", json=BIG).json()["total"] == 20
    assert client.post("/v1/adder/predict/batch", json={"rows": [BIG, BIG]}).status_code == 200
    assert client.post("/v2/models/adder/infer", json=v2("x" * 1000)).status_code == 200
    from_a_page = client.post("/v1/adder/predict", json=BIG, headers={"origin": "http://testserver"})
    assert from_a_page.status_code == 200
    for url, body in (("/v1/other/predict", BIG), ("/v2/models/other/infer", v2("x" * 1000))):
        answer = client.post(url, json=body)
        assert (answer.status_code, answer.json()["title"]) == (413, "Request too large"), answer.text
    assert client.post("/v1/adder/echo", json={"size": 1, "more": "x" * 1000}).status_code == 413


def test_its_own_limit_holds(client: TestClient) -> None:
    for size in (4000, 10_000_000):
        for url, body in (("/v1/adder/predict", {"note": "x" * size}), ("/v2/models/adder/infer", v2("x" * size))):
            answer = client.post(url, json=body)
            assert answer.status_code == 413, answer.text
            assert "expected at most 3,000 bytes" in answer.json()["detail"]


def test_a_body_that_does_not_announce_its_length_has_the_usual_limit(client: TestClient) -> None:
    content = json.dumps(BIG).encode()
    headers = {"content-type": "application/json"}
    answer = client.post("/v1/adder/predict", content=iter([content[:500], content[500:]]), headers=headers)
    assert answer.status_code == 413
    assert "expected at most 200 bytes" in answer.json()["detail"]


def test_a_predictor_may_take_more_time_than_the_others(client: TestClient) -> None:
    slots = client.app.state.slots  # type: ignore[attr-defined]
    assert [slot.limits.deadline_s for slot in slots] == [60, LIMITS.deadline_s]


def test_more_of_them_than_there_is_room_for_are_refused_until_one_is_answered() -> None:
    room = Room(3000, 4000)
    scope = {"headers": [(b"content-length", b"2500")]}

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b""}

    async def ask() -> None:
        with room.hold(scope, receive, 200):
            assert room.taken == 2500
            with pytest.raises(Overloaded, match="at most 4,000 bytes together"), room.hold(scope, receive, 200):
                pass
            with room.hold({"headers": [(b"content-length", b"150")]}, receive, 200):  # a usual one needs none
                pass
        with pytest.raises(ValueError, match="fails"), room.hold(scope, receive, 200):
            raise ValueError("fails")
        assert room.taken == 0

    asyncio.run(ask())
