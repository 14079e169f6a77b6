"""A whole system in one file, trained in a millisecond: predicts `slope * x` (tests of the frame use it)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Self

from pydantic import BaseModel, Field

from common.bundle import Bundle, save_bundle
from common.config import Strict
from common.evaluation.report import Metric, Report, Seconds
from common.system import System

SYSTEM = System(
    name="garden.growth",
    summary="Grows.",
    task="regression",
    risk="minimal",
    datasets=(),
    extras=(),
    presets=("sample", "real"),
    config="garden:Config",
    train="garden:train",
    bench="garden:bench",
    predictor="garden:Grower",
    objective="garden:objective",
)
WILD = System("garden.wild", "Has no benchmark.", "none", "minimal", (), (), predictor="garden:Grower")


class Soil(Strict):
    """A section of the settings."""

    depth: int = Field(1, ge=1, le=9)
    lime: float = 0.5
    layers: dict[str, Soil] = Field(default_factory=dict)


class Config(Strict):
    """One run."""

    seed: int = 0
    slope: float = 2.0
    dataset: str = "meadow"
    simulated: bool = True
    soil: Soil = Soil()


PRESETS: dict[str, dict[str, Any]] = {"sample": {}, "real": {"simulated": False}}


class Ask(Strict):
    """One request."""

    x: float = Field(ge=-100, le=100)


class Answer(BaseModel):
    """One answer."""

    y: float


class Grower:
    """The predictor."""

    request, response = Ask, Answer

    def __init__(self, slope: float) -> None:
        self.slope = slope

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        """From a bundle."""
        return cls(bundle.json("preprocess.json")["slope"])

    def predict(self, batch: Sequence[Ask]) -> list[Answer]:
        """`slope * x` for each."""
        return [Answer(y=self.slope * ask.x) for ask in batch]


def train(config: Config) -> Bundle:
    """Nothing to learn: the slope is a setting."""
    print("a word to the log", file=sys.stderr)
    return save_bundle(
        SYSTEM,
        config,
        arrays={},
        preprocess={"slope": config.slope},
        metrics={"valid_error": 0.25, "library": "none"},
        data={"simulated": config.simulated},
        reference={},
        examples=[{"x": 1.0}, {"x": -3.5}],
    )


def objective(config: Config, trial: Any) -> float:
    """Best at depth 7 and a lime of the config's slope."""
    depth = trial.suggest_int("soil.depth", 1, 9)
    lime = trial.suggest_float("soil.lime", 0, 4)
    return -abs(depth - 7) - abs(lime - config.slope)


def bench(config: Config, preset: str) -> list[Report]:
    """One report, and a word to the log."""
    print("a word to the log", file=sys.stderr)
    return [
        Report(
            system=SYSTEM.name,
            preset=preset,
            dataset=config.dataset,
            protocol="once",
            simulated=config.simulated,
            data_sha256="0" * 64,
            metrics={"error": Metric(value=config.slope, low=0.1, high=9.9, n=2)},
            floor={"error": 9.0},
            baselines={"mean": {"error": 8.0}},
            published=[],
            slices=[],
            seconds=Seconds(data=0, train=0, evaluate=0),
            peak_rss_mb=1,
            machine="here",
            commit="unknown",
        )
    ]
