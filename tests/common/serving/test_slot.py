from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from toy_system import SYSTEM, Adder, Ask, make_bundle

from common.errors import BundleCorrupted, BundleError, SystemUnavailable
from common.serving.app import create_app
from common.serving.slot import Slot

URL = "/v1/adder/predict"


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def test_a_bundle_is_served_beside_an_untrained_system(registered: None, tmp_path: Path) -> None:
    app = create_app("toy", {"toy.adder": make_bundle(tmp_path / "one", 5, simulated=True)})
    with TestClient(app) as client:
        response = client.post(URL, json={"age": 20})
        assert response.json() == {"total": 25.0, "version": 5}
        assert response.headers["x-espalier-simulated"] == "true"
        assert response.headers["x-model-version"] == app.state.slots[0].version
        ready = client.get("/health/ready")
        assert ready.status_code == 200
        assert ready.json()["systems"] == {"toy.adder": "ready", "toy.other": "untrained"}
        untrained = client.post("/v1/other/predict", json={"age": 20})
        assert untrained.status_code == 503
        assert "run `espalier train toy.other`" in untrained.json()["detail"]
        adder, other = client.get("/v1/models").json()
        assert (adder["simulated"], other["status"]) == (True, "untrained")
        assert 'simulated="true"' in client.get("/metrics").text


def test_openapi_examples_work_as_they_stand(registered: None, tmp_path: Path) -> None:
    with TestClient(create_app("toy", {"toy.adder": make_bundle(tmp_path / "one", 5)})) as client:
        paths = client.get("/openapi.json").json()["paths"]
        for path in (URL, f"{URL}/batch"):
            operation = paths[path]["post"]
            request = operation["requestBody"]["content"]["application/json"]
            answer = operation["responses"]["200"]["content"]["application/json"]
            assert {"schema", "example"} <= set(request)
            assert client.post(path, json=request["example"]).json() == answer["example"]


def test_the_newest_bundle_of_the_machine_is_found(registered: None, tmp_path: Path) -> None:
    for number in (1, 2):
        make_bundle(tmp_path / "home" / "bundles" / "toy.adder" / f"2024010{number}T000000-abc", number)
    with TestClient(create_app("toy")) as client:
        assert client.post(URL, json={"age": 20}).json()["version"] == 2


def test_a_corrupted_bundle_is_not_ready_and_says_why(registered: None, tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "one", 5)
    flip_a_byte(path / "preprocess.json")
    with TestClient(create_app("toy", {"toy.adder": path})) as client:
        ready = client.get("/health/ready")
        assert ready.status_code == 503
        assert "preprocess.json" in ready.json()["reasons"]["toy.adder"]
        assert str(tmp_path) not in ready.text + client.get("/v1/models").text
        response = client.post(URL, json={"age": 20})
        assert response.status_code == 503
        assert str(tmp_path) not in response.text
        assert client.get("/health/live").is_success


def test_a_service_with_nothing_trained_is_not_ready(registered: None) -> None:
    with TestClient(create_app("toy")) as client:
        assert client.get("/health/ready").status_code == 503
        assert client.get("/").is_success


async def ask(slot: Slot, **fields: object) -> int:
    [answer] = await slot.live().batcher.submit([Ask.model_validate({"age": 20, **fields})])
    version: int = answer.version
    return version


def test_swap_lets_the_new_model_answer_and_the_old_one_finish(registered: None, tmp_path: Path) -> None:
    async def main() -> None:
        slot = Slot(SYSTEM, make_bundle(tmp_path / "one", 1))
        await slot.load()
        in_flight = asyncio.create_task(ask(slot, note="slow"))
        await asyncio.sleep(0)
        await slot.swap(make_bundle(tmp_path / "two", 2))
        assert await ask(slot) == 2
        assert await in_flight == 1
        await slot.close()

    asyncio.run(main())


def test_swapping_under_load_loses_no_request(registered: None, tmp_path: Path) -> None:
    bundles = [make_bundle(tmp_path / str(number), number) for number in range(5)]

    async def main() -> None:
        slot = Slot(SYSTEM, bundles[0])
        await slot.load()
        seen: list[int] = []
        over = asyncio.Event()

        async def load() -> None:
            while not over.is_set():
                seen.append(await ask(slot))

        clients = [asyncio.create_task(load()) for _ in range(8)]
        for bundle in bundles[1:]:
            await slot.swap(bundle)
            await ask(slot)
        over.set()
        await asyncio.gather(*clients)
        assert set(seen) <= set(range(5))
        assert await ask(slot) == 4
        await slot.close()

    asyncio.run(main())


def test_a_failed_swap_keeps_the_old_model(registered: None, tmp_path: Path) -> None:
    broken, changed = make_bundle(tmp_path / "broken", 2), make_bundle(tmp_path / "changed", 3)
    flip_a_byte(broken / "preprocess.json")
    foreign = make_bundle(tmp_path / "foreign", 4)

    async def main() -> None:
        slot = Slot(SYSTEM, make_bundle(tmp_path / "one", 1))
        await slot.load()
        version = slot.version
        with pytest.raises(BundleCorrupted):
            await slot.swap(broken)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Adder, "predict", lambda self, batch: [Adder.response(total=0, version=9) for _ in batch])
            with pytest.raises(BundleError, match="golden example 1"):
                await slot.swap(changed)
        other = Slot(SYSTEM.__class__(**{**SYSTEM.__dict__, "name": "toy.other"}))
        with pytest.raises(BundleError, match=r"another system: got toy\.adder, expected toy\.other"):
            await other.swap(foreign)
        assert (slot.status, slot.version, await ask(slot)) == ("ready", version, 1)
        await slot.close()

    asyncio.run(main())


def test_a_system_that_cannot_be_imported_is_listed_with_its_reason(registered: None) -> None:
    missing = SYSTEM.__class__(**{**SYSTEM.__dict__, "name": "toy.heavy", "predictor": "not_installed_here:Predictor"})
    app = create_app("toy", systems=[SYSTEM, missing], predictors={"toy.adder": Adder()})
    with TestClient(app) as client:
        assert client.post(URL, json={"age": 20}).is_success
        ready = client.get("/health/ready")
        assert ready.status_code == 200
        assert ready.json()["systems"]["toy.heavy"] == "unavailable"
        assert "not_installed_here" in ready.json()["reasons"]["toy.heavy"]
    with pytest.raises(SystemUnavailable):
        app.state.slots[1].live()


def test_the_index_escapes_what_it_shows(registered: None) -> None:
    odd = SYSTEM.__class__(**{**SYSTEM.__dict__, "summary": "<script>alert(1)</script>"})
    with TestClient(create_app("toy", systems=[odd], predictors={"toy.adder": Adder()})) as client:
        assert "<script>" not in client.get("/").text
        assert json.dumps(client.get("/v1/models").json()).count("<script>") == 1
