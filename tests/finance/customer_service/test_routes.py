"""Dialogues through a whole service: middleware, keys, problems and OpenAPI as in production."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import talk
from fastapi import APIRouter
from fastapi.testclient import TestClient
from pydantic import BaseModel
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from common.config import settings
from common.serving.app import create_app
from common.serving.security.keyfile import create_key
from common.system import System
from finance.customer_service import routes
from finance.customer_service.desk import EXAMPLE
from finance.customer_service.graph import FOLDER, GraphError
from finance.customer_service.routes import dialogue_routes
from finance.customer_service.understood import Language, Understood

SYSTEM = System("toy.desk", "Talks.", "none", "minimal", (), (), predictor="absent:Absent")
BASE = "/v1/desk/sessions"


class Nothing(BaseModel):
    x: int = 0


class Clerk:
    """The least predictor that the routes need."""

    request = response = Nothing

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.act: Callable[[str], None] = lambda text: None

    def predict(self, batch: Any) -> list[Nothing]:
        return list(batch)

    def understand(self, text: str) -> Understood:
        self.heard.append(text)
        self.act(text)
        return talk.understand(text)

    def lookup(self, text: str, language: Language, intents: Sequence[str]) -> str | None:
        return talk.lookup(text, language, intents)

    @classmethod
    def routes(cls, predictor: Callable[[], Clerk]) -> APIRouter:
        return dialogue_routes(predictor)


@pytest.fixture
def clerk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Clerk]:
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", "")
    settings.cache_clear()
    yield Clerk()
    settings.cache_clear()


def service(clerk: Clerk) -> TestClient:
    app = create_app("toy", systems=[SYSTEM], predictors={"toy.desk": clerk})
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def client(clerk: Clerk) -> Iterator[TestClient]:
    with service(clerk) as client:
        yield client


def begin(client: TestClient, **more: Any) -> str:
    answer = client.post(BASE, json={}, **more)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def say(client: TestClient, session: str, text: str, **more: Any) -> Any:
    return client.post(f"{BASE}/{session}/messages", json={"text": text, **more})


def test_a_dialogue(client: TestClient) -> None:
    made = client.post(BASE, json={"language": "zh"})
    assert made.status_code == 201
    assert made.headers["location"] == f"{BASE}/{made.json()['id']}"
    assert made.json()["texts"][0].startswith("您好")
    id = made.json()["id"]
    answer = say(client, id, "I want to block my card ending 1234").json()
    assert answer.keys() == EXAMPLE.keys()
    assert (answer["turn"], answer["awaits"], answer["demo"], answer["expires_s"]) == (
        1,
        "identity.account",
        True,
        1800,
    )
    for text in ("62220001", "1990-04-12", "246810", "yes", "no"):
        last = say(client, id, text)
    assert last.json()["texts"] == ["Is there anything else?"]
    assert client.get(f"{BASE}/{id}").json() == last.json()
    assert client.delete(f"{BASE}/{id}").status_code == 204
    assert client.get(f"{BASE}/{id}").status_code == 404


def test_openapi_examples_work_as_they_stand(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    id = client.post(BASE, json=schemas["Begin"]["examples"][0]).json()["id"]
    answer = client.post(f"{BASE}/{id}/messages", json=schemas["Message"]["examples"][0])
    assert answer.status_code == 200
    assert answer.json().keys() == schemas["Answer"]["examples"][0].keys()
    assert {path for path in document["paths"] if path.startswith(BASE)} == {
        BASE,
        f"{BASE}/{{id}}",
        f"{BASE}/{{id}}/messages",
    }


def test_the_same_message_again_is_answered_and_done_once(client: TestClient, clerk: Clerk) -> None:
    id = begin(client)
    first = say(client, id, "block my card", id="m1").json()
    assert say(client, id, "block my card", id="m1").json() == first
    assert clerk.heard == ["block my card"]
    assert say(client, id, "62220001", id="m2").json()["turn"] == 2


def test_a_message_for_an_earlier_turn_is_refused(client: TestClient) -> None:
    id = begin(client)
    say(client, id, "block my card")
    answer = say(client, id, "62220001", turn=0)
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith("turn: the session is further on: got 0, expected 1")


def test_two_messages_at_once(client: TestClient, clerk: Clerk) -> None:
    id, inside, go = begin(client), threading.Event(), threading.Event()

    def wait(text: str) -> None:
        inside.set()
        assert go.wait(20)

    clerk.act = wait
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(say, client, id, "block my card")
        assert inside.wait(20)
        second = say(client, id, "my balance")
        go.set()
        assert first.result().status_code == 200
    assert second.status_code == 409
    assert "another message of this session is being answered" in second.json()["detail"]
    assert clerk.heard == ["block my card"]


def test_too_many_messages_at_once(clerk: Clerk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "MOST_WAITING", 1)
    inside, go = threading.Event(), threading.Event()

    def wait(text: str) -> None:
        inside.set()
        assert go.wait(20)

    clerk.act = wait
    with service(clerk) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(say, client, begin(client), "block my card")
        assert inside.wait(20)
        second = client.post(BASE, json={})
        go.set()
        assert first.result().status_code == 200
        assert second.status_code == 503
        assert second.headers["retry-after"] == "1"
        assert client.post(BASE, json={}).status_code == 201


def test_a_crash_leaves_the_session_as_it_was(client: TestClient, clerk: Clerk) -> None:
    id = begin(client)
    say(client, id, "block my card")

    def crash(text: str) -> None:
        raise RuntimeError("secret internals")

    clerk.act = crash
    answer = say(client, id, "62220001")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    clerk.act = lambda text: None
    assert say(client, id, "62220001", turn=1).json()["awaits"] == "identity.birth"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"text": "x" * 100_000}, 422, "text: not accepted"),
        ({}, 422, "text: not accepted"),
        ({"text": 7}, 422, "text: not accepted"),
        ({"text": "x", "id": "a b"}, 422, "id: not accepted"),
        ({"text": "x", "mood": "bad"}, 422, "mood: not accepted"),
    ],
)
def test_bad_messages(client: TestClient, body: dict[str, Any], status: int, said: str) -> None:
    id = begin(client)
    answer = client.post(f"{BASE}/{id}/messages", json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith(said)
    assert client.get(f"{BASE}/{id}").json()["turn"] == 0


@pytest.mark.parametrize("text", ["", "🙂🎉", "\u0000", "x" * 2000, "Привет", "block 我的 card"])
def test_odd_messages_are_answered(client: TestClient, text: str) -> None:
    id = begin(client)
    answer = say(client, id, text)
    assert answer.status_code == 200
    assert answer.json()["texts"]


def test_by_websocket(client: TestClient) -> None:
    id = begin(client)
    with client.websocket_connect(f"{BASE}/{id}/ws") as socket:
        assert socket.receive_json()["turn"] == 0
        socket.send_json({"text": "block my card", "id": "m1"})
        first = socket.receive_json()
        assert first["awaits"] == "identity.account"
        socket.send_json({"text": "block my card", "id": "m1"})
        assert socket.receive_json() == first
        for bad, status in (("no JSON", 400), ('{"text": 1}', 422), ('{"text": "x", "turn": 0}', 409)):
            socket.send_text(bad)
            problem = socket.receive_json()
            assert problem["status"] == status, problem
        socket.send_json({"text": "62220001"})
        assert socket.receive_json()["awaits"] == "identity.birth"
    assert client.get(f"{BASE}/{id}").json()["turn"] == 2


def test_a_websocket_of_no_session(client: TestClient) -> None:
    with client.websocket_connect(f"{BASE}/none/ws") as socket:
        assert socket.receive_json()["status"] == 404
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
    assert closed.value.code == 1008


def test_a_websocket_without_a_model(clerk: Clerk) -> None:
    app = create_app("toy", systems=[replace(SYSTEM, predictor="test_routes:Clerk")])
    with TestClient(app) as client:
        with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect(f"{BASE}/none/ws"):
            pass
        assert denied.value.status_code == 503
        assert "no model is trained yet" in denied.value.json()["detail"]


def test_a_crash_leaves_the_websocket_open(client: TestClient, clerk: Clerk) -> None:
    id = begin(client)

    def crash(text: str) -> None:
        clerk.act = lambda text: None
        raise RuntimeError("secret internals")

    clerk.act = crash
    with client.websocket_connect(f"{BASE}/{id}/ws") as socket:
        socket.receive_json()
        socket.send_json({"text": "hello"})
        problem = socket.receive_json()
        assert problem["status"] == 500
        assert "secret" not in str(problem)
        socket.send_json({"text": "hello"})
        assert socket.receive_json()["turn"] == 1


def test_keys_own_their_sessions(clerk: Clerk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    ann, bob, none = (
        {"authorization": f"Bearer {create_key(keys, [scope])[0]}"}
        for scope in ("predict:desk", "predict:*", "metrics")
    )
    monkeypatch.setenv("ESPALIER_KEYS_FILE", str(keys))
    settings.cache_clear()
    with service(clerk) as client:
        assert client.post(BASE, json={}).status_code == 401
        assert client.post(BASE, json={}, headers=none).status_code == 403
        id = begin(client, headers=ann)
        assert client.get(f"{BASE}/{id}", headers=ann).status_code == 200
        assert client.get(f"{BASE}/{id}", headers=bob).status_code == 404
        assert client.delete(f"{BASE}/{id}", headers=bob).status_code == 404
        with client.websocket_connect(f"{BASE}/{id}/ws", headers=ann) as socket:
            assert socket.receive_json()["turn"] == 0
        with client.websocket_connect(f"{BASE}/{id}/ws", headers=bob) as socket:
            assert socket.receive_json()["status"] == 404


def test_each_message_of_a_websocket_counts_for_the_rate(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    key = {"authorization": f"Bearer {create_key(keys, ['predict:*'], rate=0.01, burst=4)[0]}"}
    monkeypatch.setenv("ESPALIER_KEYS_FILE", str(keys))
    settings.cache_clear()
    with service(clerk) as client:
        id = begin(client, headers=key)
        with client.websocket_connect(f"{BASE}/{id}/ws", headers=key) as socket:
            seen = [socket.receive_json()]
            for _ in range(4):
                socket.send_json({"text": "hello"})
                seen.append(socket.receive_json())
    assert [one.get("status", 200) for one in seen] == [200, 200, 200, 429, 429]


def test_production_needs_a_bank(clerk: Clerk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    key = {"authorization": f"Bearer {create_key(keys, ['predict:*'])[0]}"}
    monkeypatch.setenv("ESPALIER_KEYS_FILE", str(keys))
    monkeypatch.setenv("ESPALIER_ENVIRONMENT", "production")
    settings.cache_clear()
    with service(clerk) as client:
        answer = client.post(BASE, json={}, headers=key)
        assert answer.status_code == 503
        assert "ESPALIER_BANK_URL: no bank is configured" in answer.json()["detail"]
    monkeypatch.setenv("ESPALIER_BANK_URL", "http://127.0.0.1:1/")
    with service(clerk) as client:
        id = begin(client, headers=key)
        answer = client.post(f"{BASE}/{id}/messages", json={"text": "what is the rate of USD"}, headers=key).json()
        assert answer["demo"] is False
        assert "cannot see the rates at the moment" in answer["texts"][0]


def test_graphs_of_ones_own_are_checked_before_they_serve(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for path in FOLDER.glob("*.toml"):
        text = path.read_text(encoding="utf-8")
        if path.stem == "balance":
            text = text.replace('timeout = "later", ', "")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    monkeypatch.setenv("ESPALIER_TASK_GRAPHS", str(tmp_path))
    with pytest.raises(GraphError, match=r"balance\.ask: the error timeout of balance is not handled"):
        service(clerk)


def test_nothing_said_is_in_a_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("espalier").setLevel(logging.DEBUG)
    id = begin(client)
    for text in ("my balance please", "62220001", "1990-04-12", "246810", "my e-mail is ann@example.org"):
        assert say(client, id, text).status_code == 200
    client.post(f"{BASE}/{id}/messages", json={"text": "4111111111111111" * 1000})
    said = "".join(str(record.__dict__) for record in caplog.records if record.name != "httpx2")
    assert "operation done" in said
    for private in ("62220001", "1990-04-12", "246810", "ann@example", "41111", "1234.50", id):
        assert private not in said, private
