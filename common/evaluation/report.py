"""What a benchmark prints: one `Report` per data set and protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, FiniteFloat

from common.config import Strict
from common.data.card import Published
from common.files import write_whole

# Metrics where the smaller value wins; every other metric is better when larger.
LOWER_IS_BETTER = frozenset(
    {"brier", "ece", "log_loss", "mae", "rmse", "nasa_score", "makespan", "gap", "far", "mar", "wer", "cer"}
    | {"false_alarm_rate", "interaction_rate", "string_error", "string_error_repaired"}
    | {"request_ms", "request_scorecard_ms", "fit_seconds", "fit_time_ratio", "memory_ratio_4x_rows"}
    | {"pinball", "width80", "risk05", "risk10", "risk30", "price", "gap_best64"}
    | {"gap_to_bound", "first_seconds", "first_above_final", "repair_seconds", "moved", "help_seconds", "list_seconds"}
    | {"first_seconds_most", "first_above_final_most", "repair_seconds_most", "moved_most", "price_most"}
    | {"set_size", "referral_rate", "chests_refused"}
    | {"in_scope_refused", "in_scope_refused_en", "in_scope_refused_zh", "asked_back"}
    | {"ngram_ms", "tuned_ms", "overmasked"}
    | {"set_size_recalibrated", "referral_rate_recalibrated", "brier_recalibrated"}
    | {"decision_ms_p50", "decision_ms_p99", "cards_rss_mb", "cards_state_mb", "restart_s", "events_lost"}
)


class Metric(Strict):
    """A measured value with its 95 % interval over `n` test rows."""

    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    n: int


class Slice(Strict):
    """The metrics of one part of the test rows: `name` is the field, `group` its value (sex, female)."""

    name: str
    group: str
    metrics: dict[str, Metric]


class Seconds(Strict):
    """Wall-clock seconds of the three stages."""

    data: FiniteFloat
    train: FiniteFloat
    evaluate: FiniteFloat


class Report(Strict):
    """One line of a benchmark; the keys are a contract that scripts rely on. Rates are fractions, never per cent."""

    system: str
    preset: str
    dataset: str
    protocol: str
    simulated: bool
    data_sha256: str
    metrics: dict[str, Metric]
    floor: dict[str, FiniteFloat] = Field(default_factory=dict)
    baselines: dict[str, dict[str, FiniteFloat]] = Field(default_factory=dict)
    published: list[Published] = Field(default_factory=list)
    slices: list[Slice] = Field(default_factory=list)
    seconds: Seconds
    peak_rss_mb: FiniteFloat
    machine: str
    commit: str


def better(metric: str, value: float, other: float) -> bool:
    """Whether `value` beats `other` in this metric."""
    return value < other if metric in LOWER_IS_BETTER else value > other


def best_published(published: Sequence[Published], metric: str) -> Published | None:
    """The best published value of a metric, or None."""
    best = None
    for entry in published:
        if entry.metric == metric and (best is None or better(metric, entry.value, best.value)):
            best = entry
    return best


def write_json(path: Path, value: BaseModel | Sequence[BaseModel] | dict[str, Any]) -> None:
    """Write models or a dict as indented JSON, whole or not at all."""
    write_whole(path, json.dumps(value, default=_jsonable, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _jsonable(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"a {type(value).__name__} is not JSON")
