"""The one definition of the features: what is counted, over which windows, and what a model sees of it.

Two executions count: `history` in numpy over whole tables, `online` transaction by transaction. Both give the same
whole numbers ("counts"), and `features` makes numbers for a model of them, so nothing can differ but the counting, and
`parity` proves that it does not.

Time is in milliseconds. A transaction at `t` sees those of its entity at `t - window <= time < t`: of the same
millisecond none sees the other, so no order of arrival matters. Labels count for a fraud rate only when they are known
at `t` and the transaction is older than `delay`, as investigators need so long: `t - delay - window <= time < t -
delay`. Of an entity with more than `deepest` transactions within its horizon those later than number `deepest` + 1,
counted from the newest, are seen: without a bound a busy one, such as a country, would take seconds. Who is not known
("") has no history, and counts as one partner of others.

For a model that reads sequences the newest `steps` transactions of an entity are told one by one. Of one millisecond
the larger amount counts as newer, and of one amount the one with the partner of now: here too no order of arrival
matters.
"""

from __future__ import annotations

from functools import cached_property
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from common.config import Strict
from finance.fraud_detection.clock import DAY, HOUR, MINUTE
from finance.fraud_detection.compiled import compiled

LARGEST_SQUARED = 30_000_000
"""Minor units above which amounts count as this in a deviation, so that sums of squares stay whole in 64 bits."""


class Definition(Strict):
    """What is counted for each entity, such as customer and terminal; all times in milliseconds."""

    entities: tuple[str, ...] = Field(("customer", "terminal"), min_length=1, max_length=8)
    partners: tuple[str, ...] = Field(
        ("terminal", "customer"), description="for each entity another one, whose distinct values are counted"
    )
    windows: tuple[int, ...] = Field((MINUTE, HOUR, DAY, 7 * DAY, 30 * DAY), min_length=1)
    risk_windows: tuple[int, ...] = Field((DAY, 7 * DAY, 30 * DAY), min_length=1)
    delay: int = Field(7 * DAY, ge=0, description="labels of younger transactions are not used")
    deepest: int = Field(8192, ge=1, le=1_000_000, description="the newest transactions of an entity that are seen")
    calendar: bool = Field(True, description="times are real ones, so hour and day of the week mean something")
    steps: int = Field(0, ge=0, le=1024, description="the newest transactions of an entity that are told one by one")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.partners) != len(self.entities) or not set(self.partners) <= set(self.entities):
            raise ValueError("partners: one of the entities for each")
        if len(set(self.entities)) != len(self.entities):
            raise ValueError("entities: each once")
        for name in ("windows", "risk_windows"):
            values = getattr(self, name)
            if list(values) != sorted(set(values)) or values[0] <= 0:
                raise ValueError(f"{name}: positive and ascending")
        return self

    @property
    def horizon(self) -> int:
        """How far back a transaction looks."""
        return max(self.windows[-1], self.delay + self.risk_windows[-1])

    @property
    def partner_of(self) -> np.ndarray:
        """int (entities,): the position of each one's partner; its own where it has none."""
        return np.array([self.entities.index(name) for name in self.partners])

    @property
    def counts(self) -> int:
        """Whole numbers for each entity (see `count_names`)."""
        return 3 * len(self.windows) + 2 * len(self.risk_windows) + OTHERS + 3 * self.steps

    @property
    def count_names(self) -> list[list[str]]:
        """What the executions count: names (entities, counts), in the order that `kernels.aggregate` writes."""
        windows, risks = ([spoken(window) for window in some] for some in (self.windows, self.risk_windows))
        return [
            [
                *(f"{name}_{what}_{told}" for what in ("count", "sum", f"{partner}s") for told in windows),
                *(f"{name}_{what}" for what in ("squares", "largest", "last_time")),
                *(f"{name}_{what}_{told}" for what in ("known", "frauds") for told in risks),
                *(f"{name}_{what}" for what in ("last_fraud", "first_fraud", "good_since_fraud")),
                *(f"{name}_step_{what}_{k}" for what in ("time", "amount", "same") for k in range(self.steps)),
            ]
            for name, partner in zip(self.entities, self.partners, strict=True)
        ]

    @property
    def counted(self) -> str:
        """What decides the counts, as JSON: a kept state goes on only where this is the same."""
        return self.model_dump_json(exclude={"calendar", "steps"})

    @cached_property
    def lookback(self) -> dict[str, int]:
        """The features, in the order of the columns of `features`, each with the age, ms, up to which transactions
        decide it."""
        found = {"amount": 0, "hour": 0, "weekday": 0}
        for name, partner in zip(self.entities, self.partners, strict=True):
            for window in self.windows:
                for what in ("count", "mean", "ratio", f"{partner}s"):
                    found[f"{name}_{what}_{spoken(window)}"] = window
            for what in ("deviation", "largest", "since_last", "velocity"):
                found[f"{name}_{what}"] = self.windows[-1]
            for window in self.risk_windows:
                for what in ("known", "frauds", "risk"):
                    found[f"{name}_{what}_{spoken(window)}"] = self.delay + window
            for what in ("since_fraud", "since_first_fraud", "good_since_fraud"):
                found[f"{name}_{what}"] = self.delay + self.risk_windows[-1]
        return found

    @property
    def names(self) -> list[str]:
        """The features, in the order of the columns of `features`."""
        return list(self.lookback)

    def features(self, counts: np.ndarray, time: np.ndarray, amount: np.ndarray) -> np.ndarray:
        """float32 (rows, features): the function `features` with what it needs of this definition."""
        return features(counts, time, amount, np.array(self.windows), len(self.risk_windows), self.calendar)


OTHERS = 6
"""Counts beside those of windows: sum of squares, largest, last time, last and first known fraud, good ones since; then
come times (-1: none), amounts and whether the partner is that of now, of the newest `steps` transactions."""


def spoken(window: int) -> str:
    """`90000` as `90s`, a day as `1d`."""
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (1000, "s")):
        if window % unit == 0:
            return f"{window // unit}{name}"
    return f"{window}ms"


@compiled
def features(
    counts: np.ndarray, time: np.ndarray, amount: np.ndarray, windows: np.ndarray, risk: int, calendar: bool
) -> np.ndarray:
    """float32 (rows, features) of counts int64 (rows, entities, counts); NaN where nothing is known.

    `time` in milliseconds, `amount` in minor units, both int64 (rows,); `risk` is the number of risk windows. A row's
    features depend on its own counts alone.
    """
    rows, entities, _ = counts.shape
    size = len(windows)
    each = 4 * size + 4 + 3 * risk + 3
    found = np.full((rows, 3 + entities * each), np.nan, dtype=np.float32)
    for i in range(rows):
        value = amount[i] / 100
        found[i, 0] = value
        if calendar:
            found[i, 1] = (time[i] % DAY) / HOUR
            found[i, 2] = (time[i] // DAY + 3) % 7
        for e in range(entities):
            own, at = counts[i, e], 3 + e * each
            for w in range(size):
                many = own[w]
                found[i, at] = many
                if many > 0:
                    mean = own[size + w] / many / 100
                    found[i, at + 1] = mean
                    found[i, at + 2] = value / mean if mean > 0 else np.nan
                found[i, at + 3] = own[2 * size + w]
                at += 4
            many, place = own[size - 1], 3 * size
            if many > 1:
                mean = own[2 * size - 1] / many
                spread = np.sqrt(max(own[place] / many - mean * mean, 0.0)) + 100
                found[i, at] = (amount[i] - mean) / spread
            if many > 0:
                found[i, at + 1] = own[place + 1] / 100
                found[i, at + 2] = (time[i] - own[place + 2]) / 1000
                found[i, at + 3] = own[min(2, size - 1)] / many * (windows[size - 1] / windows[min(2, size - 1)])
            at += 4
            place += 3
            for r in range(risk):
                known, frauds = own[place + r], own[place + risk + r]
                found[i, at], found[i, at + 1] = known, frauds
                if known > 0:
                    found[i, at + 2] = frauds / known
                at += 3
            place += 2 * risk
            if own[place] >= 0:
                found[i, at] = (time[i] - own[place]) / HOUR
                found[i, at + 1] = (time[i] - own[place + 1]) / HOUR
                found[i, at + 2] = own[place + 2]
    return found
