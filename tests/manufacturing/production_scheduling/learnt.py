"""What several tests of the learning share, made once."""

from __future__ import annotations

from functools import cache

from common.config import build_config
from manufacturing.production_scheduling.config import PRESETS, Config
from manufacturing.production_scheduling.durations import Durations
from manufacturing.production_scheduling.history import History, load, split
from manufacturing.production_scheduling.quantiles import fit_durations

LEVELS = "quantiles.levels=[0.1, 0.5, 0.9, 0.95]"


@cache
def config() -> Config:
    """The sample preset with fewer levels."""
    return build_config(Config, PRESETS, "sample", [LEVELS, "quantiles.calibration_rows=400", "policy.updates=3"])


@cache
def parts() -> dict[str, History]:
    """The simulated history in its four parts."""
    return split(load(config()), config())


@cache
def fitted() -> tuple[Durations, dict[float, str]]:
    """Durations, and the text of each model."""
    durations, texts, _ = fit_durations(config().quantiles, parts(), 1.0, 0)
    return durations, texts
