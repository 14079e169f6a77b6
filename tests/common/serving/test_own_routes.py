"""What routes of a system's own may take, and where what blocks of them runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from fastapi import APIRouter, Request
from fastapi.testclient import TestClient
from toy_system import SYSTEM, Adder

from common.errors import Overloaded
from common.serving.app import create_app
from common.serving.threads import Threads

TABLE = {"requestBody": {"content": {"application/json": {}, "text/csv": {"schema": {"type": "string"}}}}}


class Reader(Adder):
    """Adds what a table says."""

    @classmethod
    def routes(cls, get_predictor: Callable[[], Any]) -> APIRouter:
        router = APIRouter()

        @router.post("/table", openapi_extra=TABLE)
        async def table(request: Request) -> int:
            return len(await request.body())

        @router.post("/plain")
        async def plain(request: Request) -> int:
            return len(await request.body())

        return router


def test_a_route_takes_json_or_what_its_openapi_names() -> None:
    with TestClient(create_app("toy", systems=[SYSTEM], predictors={"toy.adder": Reader()})) as client:

        def send(route: str, kind: str, **more: str) -> Any:
            return client.post(f"/v1/adder/{route}", content=b"a,b", headers={"content-type": kind, **more})

        assert send("table", "text/csv; charset=utf-8").json() == 3
        assert send("table", "application/json").json() == 3
        refused = send("table", "text/plain")
        assert refused.status_code == 415
        assert "got text/plain, expected application/json or text/csv" in refused.json()["detail"]
        assert send("table", "text/csv", **{"content-encoding": "gzip"}).status_code == 415
        other = send("plain", "text/csv")
        assert other.status_code == 415
        assert "the body is not declared as JSON: got text/csv, expected application/json" in other.json()["detail"]


def test_too_many_calls_are_refused_and_the_others_end() -> None:
    threads, go, name = Threads("toy", 2, 2), threading.Event(), ContextVar("name", default="")

    def wait(word: str) -> tuple[str, str, str]:
        assert go.wait(20)
        return word, name.get(), threading.current_thread().name

    async def run() -> None:
        name.set("caller")
        calls = [asyncio.create_task(threads.run(wait, word)) for word in ("a", "b")]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="at most 2; retry after 1 s"):
            await threads.run(wait, "c")
        go.set()
        found = await asyncio.gather(*calls)
        assert [(word, own) for word, own, _ in found] == [("a", "caller"), ("b", "caller")]
        assert all(thread.startswith("toy") for *_, thread in found)
        assert (await threads.run(wait, "d"))[0] == "d"

    asyncio.run(run())
    threads.close()
