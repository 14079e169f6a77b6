"""A small system that keeps every rule, or breaks the one that the environment's `FAULT` names."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from random import random
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, RootModel

from common.bundle import Bundle, save_bundle
from common.config import Strict
from common.evaluation.report import Metric, Report, Seconds
from common.system import System

ROOM = "faulty_system"
SYSTEM = System(
    name="toy.faulty",
    summary="Says what it was told, and a half.",
    task="regression",
    risk="minimal",
    datasets=(),
    extras=(),
    presets=("sample",),
    config=f"{ROOM}:Config",
    train=f"{ROOM}:train",
    evaluate=f"{ROOM}:evaluate",
    predictor=f"{ROOM}:Echo",
)
OTHER = System("toy.other", "Another.", "regression", "minimal", (), (), predictor=f"{ROOM}:Echo")
learnt_by_this_process: list[float] = []


def has(fault: str) -> bool:
    return os.environ.get("FAULT") == fault


def dial() -> None:
    socket.create_connection(("192.0.2.1", 80), timeout=0.1)


class Config(Strict):
    seed: int = 0


PRESETS: dict[str, dict[str, Any]] = {"sample": {}}


class Ask(Strict):
    x: float


class LetsUnknownFieldsPass(BaseModel):
    x: float


class AsksForAnything(Strict):
    x: Any


class Forgetful(Strict):
    """Says that the wrong field is another one."""

    x: Any

    def model_post_init(self, _: object) -> None:
        if not isinstance(self.x, float):
            raise ValueError("no number")


class Answer(BaseModel):
    y: float


class AnswerWithReason(Answer):
    reason: str


class Bare(RootModel[float]):
    pass


class Echo:
    def __init__(self, shift: float) -> None:
        self.shift = shift
        self.request: type[BaseModel] = Ask
        for kind in (LetsUnknownFieldsPass, AsksForAnything, Forgetful):
            self.request = kind if has(kind.__name__) else self.request
        self.response: type[BaseModel] = Bare if has("bare response") else Answer

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        if has("dials when loaded by a service") and "examples.jsonl" in bundle.manifest.files:
            dial()
        return cls(float(bundle.arrays("model.safetensors")["shift"][0]))

    def predict(self, batch: Sequence[Any]) -> list[Any]:
        if has("bug"):
            raise ZeroDivisionError("a bug")
        if has("no empty batch") and not batch:
            raise ValueError("no rows")
        if has("batch reversed"):
            batch = batch[::-1]
        if has("batch shortened"):
            batch = batch[:32]
        many = has("batch rounds") and len(batch) > 8
        return [self._answer(row.x + 1e-12 * many) for row in batch]

    def _answer(self, x: float) -> Any:
        if has("shared state"):
            self.x = x
            time.sleep(0.001)
            x = self.x
        shift = learnt_by_this_process[-1] if has("state beside the bundle") and learnt_by_this_process else self.shift
        if has("answers of a subclass"):
            return AnswerWithReason(y=x + shift, reason="because")
        return Bare(x + shift) if has("bare response") else Answer(y=x + shift)


def train(config: Config) -> Bundle:
    if has("dials in training"):
        dial()
    if has("swallows that it dialled"):
        with suppress(OSError):
            socket.create_connection(("weights.invalid", 443), timeout=0.1)
    shift = {"unseeded": random(), "order of a set": hash("a") / 2**64}.get(os.environ.get("FAULT", ""), 0.5)
    if has("state beside the bundle"):
        learnt_by_this_process.append(0.75)
    bundle = save_bundle(
        OTHER if has("bundle of another") else SYSTEM,
        config,
        arrays={"model.safetensors": {"shift": np.array([shift])}},
        preprocess={},
        metrics={"seconds": time.perf_counter()},
        data={"simulated": True},
        reference={},
        examples=[{"x": 0.25}, {"x": 0.25 if has("examples alike") else random() if has("examples drawn") else 0.5}],
    )
    if has("weights beside the manifest"):
        (bundle.path / "more.bin").write_bytes(b"weights")
    return bundle


def evaluate(bundle: Bundle) -> tuple[Report, list[Any]]:
    low, high = (0.4, 0.6) if has("no better than trivial") else (0.1, 0.2)
    metrics = {
        "rmse": Metric(value=0.9 if has("value outside") else (low + high) / 2, low=low, high=high, n=100),
        "ece": Metric(value=0.1, low=0.05, high=0.15, n=100),  # of which the floor is zero, and unbeatable
    }
    report = Report(
        system="toy.other" if has("report of another") else SYSTEM.name,
        preset="bundle",
        dataset="toy",
        protocol="holdout",
        simulated=not has("simulation untold"),
        data_sha256="",
        metrics=metrics,
        floor={} if has("no floor") else {"rmse": 0.5, "ece": 0.0},
        baselines={},
        published=[],
        slices=[],
        seconds=Seconds(data=0, train=0, evaluate=0),
        peak_rss_mb=0,
        machine="",
        commit="",
    )
    return report, []
