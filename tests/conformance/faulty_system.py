"""A small system that keeps every rule, or breaks the one named in `fault`."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from random import random
from typing import Any, Self

import numpy as np
from pydantic import BaseModel

from common.bundle import Bundle, save_bundle
from common.config import Strict
from common.evaluation.metrics import bootstrap, brier, trivial_floor
from common.evaluation.report import Report, Seconds
from common.system import System

ROOM = "faulty_system"
SYSTEM = System(
    name="toy.faulty",
    summary="Says what it was told.",
    task="binary classification",
    risk="minimal",
    datasets=(),
    extras=(),
    presets=("sample",),
    config=f"{ROOM}:Config",
    train=f"{ROOM}:train",
    evaluate=f"{ROOM}:evaluate",
    predictor=f"{ROOM}:Echo",
)
fault = ""


class Config(Strict):
    seed: int = 0


PRESETS: dict[str, dict[str, Any]] = {"sample": {}}


class Ask(Strict):
    x: float


class Careless(BaseModel):
    x: float


class Answer(BaseModel):
    y: float


class Echo:
    response = Answer
    busy = 0

    def __init__(self, shift: float) -> None:
        self.shift = shift
        self.request = Careless if fault == "bad requests" else Ask

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        if fault == "network":
            socket.create_connection(("192.0.2.1", 80), timeout=0.1)
        return cls(float(bundle.arrays("model.safetensors")["shift"][0]))

    def predict(self, batch: Sequence[Any]) -> list[Answer]:
        shift = 0.0
        if fault == "batch" and len(batch) > 3:
            shift = 1.0
        if fault == "order" and len(batch) > 3:
            batch = batch[::-1]
        if fault == "threads" and threading.current_thread() is not threading.main_thread():
            shift = random()
        return [Answer(y=row.x + shift) for row in batch]


def train(config: Config) -> Bundle:
    if fault == "trains offline":
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)
    shift = random() if fault == "deterministic" else 0.5
    return save_bundle(
        SYSTEM,
        config,
        arrays={"model.safetensors": {"shift": np.array([shift])}},
        preprocess={},
        metrics={},
        data={"simulated": True},
        reference={},
        examples=[] if fault == "examples" else [{"x": 0.25}, {"x": 0.5}],
    )


def evaluate(bundle: Bundle) -> tuple[Report, list[Any]]:
    y = np.tile([0, 1], 50)
    p = np.full(100, 0.4) if fault == "floor" else np.where(y == 1, 0.9, 0.2)
    report = Report(
        system=SYSTEM.name,
        preset="bundle",
        dataset="toy",
        protocol="holdout",
        simulated=True,
        data_sha256="",
        metrics={"brier": bootstrap(y, p, brier, repeats=20)},
        floor=trivial_floor(y),
        baselines={},
        published=[],
        slices=[],
        seconds=Seconds(data=0, train=0, evaluate=0),
        peak_rss_mb=0,
        machine="",
        commit="",
    )
    return report, []
