"""A system of its own for the serving tests: adds two numbers and an offset from its bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Request, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field

from common.bundle import Bundle, save_bundle
from common.errors import InvalidRequest
from common.system import System

SYSTEM = System("toy.adder", "Adds.", "regression", "minimal", (), (), predictor="toy_system:Adder")
OTHER = System("toy.other", "Also adds.", "regression", "minimal", (), (), predictor="toy_system:Adder")


class Extra(BaseModel):
    size: Annotated[int, Field(gt=0)] = 1


class Ask(BaseModel):
    model_config = ConfigDict(extra="forbid")

    age: Annotated[int, Field(ge=18, le=75)]
    amount: float = 0.0
    kind: Literal["plain", "fancy"] = "plain"
    note: str | None = None
    extras: list[Extra] = []


class Answer(BaseModel):
    total: float
    version: int


class Adder:
    request, response = Ask, Answer
    sensitive = frozenset({"note"})
    inline = False  # it sleeps, when a test wants it to

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self.batches: list[int] = []

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        return cls(bundle.json("preprocess.json")["offset"])

    def predict(self, batch: Sequence[Ask]) -> list[Answer]:
        self.batches.append(len(batch))
        if any(row.note == "bug" for row in batch):
            raise ValueError("secret internals")
        if any(row.note == "refuse" for row in batch):
            raise InvalidRequest("this cannot be added", where="note", got="refuse", expected="another note")
        if any(row.note == "slow" for row in batch):
            time.sleep(0.5)
        return [Answer(total=row.age + row.amount + self.offset, version=self.offset) for row in batch]

    @classmethod
    def routes(cls, get_predictor: Callable[[], Any]) -> APIRouter:
        router = APIRouter()

        @router.get("/offset")
        async def offset() -> int:
            return get_predictor().offset

        @router.websocket("/offsets")
        async def offsets(socket: WebSocket) -> None:
            await socket.accept()
            with suppress(WebSocketDisconnect):
                while await socket.receive_text():
                    await socket.send_json(get_predictor().offset)

        @router.post("/add")
        async def add(body: Ask, request: Request) -> Answer:
            request.state.decided.admit()
            [answer] = get_predictor().predict([body])
            request.state.decided.note([body], [answer])
            return answer

        @router.post("/echo")
        async def echo(body: Extra) -> Extra:
            return body

        return router


class NoConfig(BaseModel):
    seed: int = 0


def make_bundle(folder: Path, offset: int, *, simulated: bool = False) -> Path:
    return save_bundle(
        SYSTEM,
        NoConfig(),
        arrays={},
        preprocess={"offset": offset},
        metrics={},
        data={"simulated": simulated},
        reference={},
        examples=[{"age": 20, "amount": 1.5}, {"age": 30}],
        folder=folder,
    ).path
