"""Three toy systems that really compute: defects of a picture, loudness of a recording, a plan of jobs."""

from __future__ import annotations

import io
import wave
from base64 import b64decode, b64encode
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from fastapi import APIRouter
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

import common.system
from common.bundle import Bundle, save_bundle
from common.config import Strict
from common.errors import InvalidRequest
from common.system import GROUP, System

PNG = {"contentEncoding": "base64", "contentMediaType": "image/png"}
WAV = {"contentEncoding": "base64", "contentMediaType": "audio/wav"}


def system(name: str, summary: str, predictor: str) -> System:
    return System(f"workshop.{name}", summary, "a toy", "minimal", (), (), predictor=f"workshop:{predictor}")


INSPECTION = system("inspection", "Finds what differs from its surroundings.", "Inspector")
SPEECH = system("speech", "Measures a recording.", "Listener")
PLANNING = system("planning", "Plans jobs on machines.", "Planner")
PRICES = system("prices", "Every kind of field.", "Pricer")
ABSENT = system("absent", "Was never trained.", "Pricer")
SYSTEMS = [INSPECTION, SPEECH, PLANNING, PRICES, ABSENT]


class Part(Strict):
    """A part to look at."""

    picture: Annotated[str, Field(description="Picture of the part", json_schema_extra=PNG)]
    sensitivity: Annotated[float, Field(ge=0, le=1)] = 0.5


class Inspected(BaseModel):
    decision: Literal["good", "defect"]
    probabilities: dict[str, float]
    defects: Annotated[str, Field(json_schema_extra=PNG)]


class Inspector:
    request, response = Part, Inspected

    def predict(self, batch: Sequence[Part]) -> list[Inspected]:
        return [self._one(part) for part in batch]

    def _one(self, part: Part) -> Inspected:
        try:
            pixels = np.asarray(Image.open(io.BytesIO(b64decode(part.picture))).convert("L"), dtype=float)
        except OSError:
            raise InvalidRequest("not a picture", where="picture", expected="a PNG") from None
        apart = np.abs(pixels - np.median(pixels)) / 255
        bad = float((apart > part.sensitivity).mean())
        colours = np.stack([255 * apart, 0 * apart, 0 * apart, 255 * (apart > part.sensitivity)], axis=-1)
        out = io.BytesIO()
        Image.fromarray(colours.astype(np.uint8)).save(out, "PNG")
        shares = {"good": 1 - min(20 * bad, 1), "defect": min(20 * bad, 1)}
        verdict = "defect" if bad > 0.01 else "good"
        return Inspected(decision=verdict, probabilities=shares, defects=b64encode(out.getvalue()).decode())


class Recording(Strict):
    """A recording."""

    sound: Annotated[str, Field(description="Recording", json_schema_extra=WAV)]


class Heard(BaseModel):
    seconds: float
    loudness: float
    rate: int


class Listener:
    request, response = Recording, Heard

    def predict(self, batch: Sequence[Recording]) -> list[Heard]:
        return [self._one(one) for one in batch]

    def _one(self, recording: Recording) -> Heard:
        try:
            with wave.open(io.BytesIO(b64decode(recording.sound))) as file:
                rate, frames = file.getframerate(), file.getnframes()
                samples = np.frombuffer(file.readframes(frames), dtype=f"<i{file.getsampwidth()}").astype(float)
        except (wave.Error, EOFError):
            raise InvalidRequest("not a recording", where="sound", expected="a WAV file") from None
        loudness = float(np.sqrt((samples**2).mean())) / 2**15 if len(samples) else 0.0
        return Heard(seconds=frames / rate, loudness=loudness, rate=rate)


class Jobs(Strict):
    """Jobs to plan."""

    jobs: Annotated[
        list[list[int]],
        Field(description="For each job its minutes on each machine", default_factory=lambda: [[3, 2], [2, 4]]),
    ]


class Interval(BaseModel):
    machine: str
    job: str
    start: float
    end: float


class Plan(BaseModel):
    makespan: float
    plan: Annotated[list[Interval], Field(json_schema_extra={"x-espalier-view": "gantt"})]


class Planner:
    request, response = Jobs, Plan

    def predict(self, batch: Sequence[Jobs]) -> list[Plan]:
        return [self._one(jobs.jobs) for jobs in batch]

    def _one(self, jobs: list[list[int]]) -> Plan:
        free: dict[int, float] = {}
        plan = []
        for i, minutes in enumerate(jobs):
            at = 0.0
            for machine, lasts in enumerate(minutes):
                start = max(at, free.get(machine, 0.0))
                at = free[machine] = start + lasts
                plan.append(Interval(machine=f"M{machine + 1}", job=f"J{i + 1}", start=start, end=at))
        return Plan(makespan=max((one.end for one in plan), default=0.0), plan=plan)


class Goods(Strict):
    """Every kind of field; `weight` of a bundle has its own bound."""

    colour: Literal["red", "green"]
    grade: Literal[1, 2, 3] | None = None
    pieces: Annotated[int, Field(ge=1, le=5, strict=True)] = 2
    weight: Annotated[float, Field(gt=0, le=1000, description="Weight <b>in</b> kg")]
    age: Annotated[int, Field(ge=0, strict=True)] | None = None
    fresh: bool = False
    note: str | None = None
    tags: tuple[str, ...] = ()


class Priced(BaseModel):
    price: float
    note: str | None
    simulated: bool = False


class Pricer:
    request, response = Goods, Priced

    def __init__(self, factor: float = 2.0, most: float = 1000.0) -> None:
        self.factor = factor
        if most != 1000.0:
            bounded = Annotated[float, Field(gt=0, le=most, description=f"Weight up to {most:g} kg")]
            self.request = type("Goods", (Goods,), {"__annotations__": {"weight": bounded}, "__module__": __name__})

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        return cls(**bundle.json("preprocess.json"))

    def predict(self, batch: Sequence[Any]) -> list[Priced]:
        return [Priced(price=self.factor * goods.weight * goods.pieces, note=goods.note) for goods in batch]

    @classmethod
    def routes(cls, predictor: Any) -> APIRouter:
        router = APIRouter()

        @router.post("/haggle", openapi_extra={"x-espalier-request": "predict"})
        async def haggle(body: Goods) -> Priced:
            return Priced(price=predictor().predict([body])[0].price / 2, note="half")

        return router


class NoConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")

    seed: int = 0


def price_bundle(folder: Path, factor: float, most: float = 1000.0, *, simulated: bool = False) -> Path:
    return save_bundle(
        PRICES,
        NoConfig(),
        arrays={},
        preprocess={"factor": factor, "most": most},
        metrics={},
        data={"simulated": simulated},
        reference={},
        examples=[{"colour": "red", "weight": 1.5}, {"colour": "green", "weight": 2.0, "note": "second"}],
        folder=folder,
    ).path


def register() -> None:
    """As if these systems, and no other, were installed."""
    entries = [EntryPoint(one.name, f"workshop:{name}", GROUP) for name, one in globals().items() if one in SYSTEMS]
    common.system.entry_points = lambda group: entries


def predictors() -> dict[str, Any]:
    return {"workshop.inspection": Inspector(), "workshop.speech": Listener(), "workshop.planning": Planner()}
