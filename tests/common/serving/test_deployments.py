"""Swap, challenger, promotion and rollback of a service."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import toy_system
from fastapi.testclient import TestClient
from toy_system import SYSTEM, make_bundle

from common.bundle import load_bundle
from common.bundle.acceptance import unmet
from common.errors import UsageError
from common.serving.app import create_app
from common.serving.slot import Slot

URL, AT = "/v1/adder/predict", "/v1/deployments/adder"


@pytest.fixture
def bundles(registered: None, tmp_path: Path) -> Path:
    folder = tmp_path / "home" / "bundles" / "toy.adder"
    for number in (1, 2, 3):
        make_bundle(folder / f"v{number}", number)
    make_bundle(folder / "unreal", 4, simulated=True)
    make_bundle(folder / "v0", 0)  # sorts before the others, so the newest by name is v3
    return folder


@pytest.fixture
def client(bundles: Path) -> Iterator[TestClient]:
    with TestClient(create_app("toy", {"toy.adder": bundles / "v1"}, systems=[SYSTEM])) as client:
        yield client


def served(client: TestClient, **headers: str) -> int:
    return client.post(URL, json={"age": 20}, headers=headers).json()["version"]


def test_swap_and_rollback(client: TestClient) -> None:
    assert served(client) == 1
    swapped = client.post(f"{AT}/swap", json={"bundle": "v2"}).json()
    assert served(client) == 2
    assert client.post(f"{AT}/rollback").json()["champion"] == swapped["previous"]
    assert served(client) == 1
    assert client.post(f"{AT}/rollback").json() == swapped
    assert [one["champion"] for one in client.get("/v1/deployments").json()] == [swapped["champion"]]


def test_a_websocket_outlives_a_swap(client: TestClient) -> None:
    with client.websocket_connect("/v1/adder/offsets") as socket:
        seen = []
        for swap in (False, True):
            if swap:
                client.post(f"{AT}/swap", json={"bundle": "v2"})
            socket.send_text("which?")
            seen.append(socket.receive_json())
    assert seen == [1, 2]


def test_a_promotion_outlives_the_process(client: TestClient, bundles: Path) -> None:
    client.post(f"{AT}/swap", json={"bundle": "v2"})
    with TestClient(create_app("toy", systems=[SYSTEM])) as again:
        assert served(again) == 2
    with TestClient(create_app("toy", {"toy.adder": bundles / "v3"}, systems=[SYSTEM])) as given:
        assert served(given) == 3


def test_the_shadow_answers_nobody_and_is_compared(client: TestClient) -> None:
    started = client.post(f"{AT}/challenger", json={"bundle": "v2"}).json()
    assert (started["challenger"]["share"], started["challenger"]["shadow_rows"]) == (0, 0)
    first = client.post(URL, json={"age": 20})
    client.post(f"{URL}/batch", json={"rows": [{"age": 20}, {"age": 21}]})
    tensors = {"inputs": [{"name": "age", "datatype": "INT64", "shape": [2], "data": [30, 31]}]}
    assert client.post("/v2/models/adder/infer", json=tensors).status_code == 200
    assert first.json()["version"] == 1
    until = time.monotonic() + 10
    while (state := client.get("/v1/deployments").json()[0]["challenger"])["shadow_rows"] < 5:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert (state["failed_rows"], state["same_decision"]) == (0, 0.0)
    # Side by side in the audit log: the shadow's record names the decision that it shadows.
    from common.audit.store import Store
    from common.config import settings

    client.get("/v1/decisions/" + "0" * 24)  # waits until all is written
    store = Store(f"sqlite:///{settings().home / 'audit.db'}")
    by_role = {(row["role"], row["output"]["version"]) for row in store.export()}
    assert by_role == {("champion", 1), ("shadow", 2)}
    client.post("/v1/feedback", json={"labels": [{"decision": first.headers["x-decision-id"], "label": 1}]})
    [(label, one, other)] = store.labelled_pairs("toy.adder", state["version"], 10)
    assert (label, one["version"], other["version"]) == (1, 1, 2)
    store.close()
    assert client.request("DELETE", f"{AT}/challenger").json()["challenger"] is None


def test_a_challenger_that_fails_hurts_nobody(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.post(f"{AT}/challenger", json={"bundle": "v2"})
    slot: Slot = client.app.state.slots[0]
    monkeypatch.setattr(slot.rival.live.batcher, "_predict", lambda rows: 1 / 0)
    assert served(client) == 1
    until = time.monotonic() + 10
    while client.get("/v1/deployments").json()[0]["challenger"]["failed_rows"] < 1:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_share_of_the_requests_and_the_same_model_for_a_subject(client: TestClient) -> None:
    client.post(f"{AT}/challenger", json={"bundle": "v2", "share": 0.5})
    found = [served(client) for _ in range(100)]
    assert 20 < found.count(2) < 80
    by_subject = [{served(client, **{"x-subject-key": f"customer-{i}"}) for _ in range(3)} for i in range(40)]
    assert all(len(versions) == 1 for versions in by_subject)
    assert {version for versions in by_subject for version in versions} == {1, 2}
    answer = next(a for a in iter(lambda: client.post(URL, json={"age": 20}), None) if a.json()["version"] == 2)
    record = client.get(f"/v1/decisions/{answer.headers['x-decision-id']}").json()
    assert (record["role"], record["version"]) == ("challenger", answer.headers["x-model-version"])


def test_promotion_needs_a_challenger_that_meets_the_thresholds(client: TestClient) -> None:
    assert client.post(f"{AT}/promote", json={}).status_code == 409
    client.post(f"{AT}/challenger", json={"bundle": "v2", "share": 1})
    slot: Slot = client.app.state.slots[0]
    slot.system = dataclasses.replace(SYSTEM, acceptance=("valid_auc >= 0.9",))
    refused = client.post(f"{AT}/promote", json={})
    assert (refused.status_code, "valid_auc is unknown, expected >= 0.9" in refused.json()["detail"]) == (409, True)
    assert client.get("/v1/deployments").json()[0]["champion"] != refused.json()
    slot.system = SYSTEM
    assert client.post(f"{AT}/promote", json={}).json()["challenger"] is None
    assert served(client) == 2
    assert client.post(f"{AT}/rollback").status_code == 200
    assert served(client) == 1


def test_simulated_models_replace_real_ones_only_when_told(client: TestClient) -> None:
    assert client.post(f"{AT}/swap", json={"bundle": "unreal"}).status_code == 409
    assert served(client) == 1
    assert client.post(f"{AT}/swap", json={"bundle": "unreal", "allow_simulated": True}).status_code == 200
    assert served(client) == 4


def test_what_cannot_be_served_changes_nothing_and_tells_no_path(client: TestClient, bundles: Path) -> None:
    (bundles / "v3" / "preprocess.json").write_text("{}")
    for body in (
        {"bundle": "v3"},
        {"bundle": "v99"},
        {"bundle": "models:/toy.adder@nobody"},
        {"bundle": "../../../etc"},
        {"bundle": "/etc/passwd"},
        {"bundle": "models:/../x@y"},
        {"bundle": ""},
        {"bundle": "v2", "force": True},
        {},
    ):
        answer = client.post(f"{AT}/swap", json=body)
        assert answer.status_code in (409, 422), answer.text
        assert str(bundles.parent) not in answer.text
    assert client.post("/v1/deployments/none/swap", json={"bundle": "v2"}).status_code == 404
    assert client.post(f"{AT}/rollback").status_code == 409
    assert served(client) == 1


def test_twenty_swaps_under_load_fail_no_request_and_mix_no_versions(bundles: Path) -> None:
    paths = [bundles / f"v{number}" for number in (1, 2, 3)]
    slot = Slot(SYSTEM, paths[0])

    async def run() -> list[tuple[int, str]]:
        await slot.load()
        versions = {load_bundle(path).manifest.version: i for i, path in enumerate(paths, 1)}
        done, answers = asyncio.Event(), []

        async def ask() -> None:
            while not done.is_set():
                live = slot.live()
                rows = [toy_system.Ask(age=20)] * 3
                for answer in await live.batcher.submit(rows):
                    answers.append((answer.version, versions[live.version]))

        asking = [asyncio.create_task(ask()) for _ in range(16)]
        for i in range(20):
            await slot.swap(paths[(i + 1) % 3])
        done.set()
        await asyncio.gather(*asking)
        await slot.close()
        return answers

    answers: list[Any] = asyncio.run(run())
    assert {answered for answered, _ in answers} == {1, 2, 3}
    assert [pair for pair in answers if pair[0] != pair[1]] == []


def test_thresholds_in_words(bundles: Path) -> None:
    bundle = load_bundle(bundles / "v1")
    assert unmet(bundle, ()) == []
    assert unmet(bundle, ("auc >= 0.5",)) == ["auc is unknown, expected >= 0.5"]
    with pytest.raises(UsageError, match="for example"):
        unmet(bundle, ("auc > 0.5",))
