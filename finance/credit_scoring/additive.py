"""The additive model that both scorecard and challenger become: integer points looked up in tables.

    score = base + sum of terms;   a term is a table over the bins of one field or of a pair of fields

Points are integers (of 1/resolution), so sums do not depend on their order: one record, a batch,
compiled Python and SQL give the same bits, and contributions sum to the score exactly.
The scale is that of a scorecard: `base_score` at odds of `base_odds` good to one bad, and
`pdo` points double the odds (Siddiqi, Credit Risk Scorecards, 2006).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from common.config import Strict

Value: TypeAlias = "float | int | str | None"
# A column is float64 with NaN for missing, or (codes, levels) with code -1 for missing.
Column: TypeAlias = "np.ndarray | tuple[np.ndarray, Sequence[Value]]"


class Scale(Strict):
    """Points of a scorecard: `base_score` at `base_odds`, doubled every `pdo` points."""

    base_score: float = 600
    base_odds: float = 30
    pdo: float = 50

    @property
    def factor(self) -> float:
        """Points per unit of log-odds."""
        return self.pdo / math.log(2)

    def points(self, log_odds_bad: float) -> float:
        """Score of an applicant with these log-odds of default."""
        return self.base_score - self.factor * (log_odds_bad + math.log(self.base_odds))

    def probability(self, score: float) -> float:
        """Probability of default at a score, rounded to 1e-6 so that every language agrees on it."""
        exponent = (score - self.base_score) / self.factor + math.log(self.base_odds)
        return round(1 / (1 + math.exp(min(exponent, 700.0))), 6)  # exp() overflows above 709


@dataclass(frozen=True)
class Axis:
    """How one field falls into bins: intervals `[cut, next cut)`, then codes of their own.

    A number is in bin `i` when `cuts[i-1] <= x < cuts[i]`; a category only has `codes`.
    `other` is the bin of a category never seen in training.
    """

    field: str
    cuts: tuple[float, ...]
    codes: Mapping[Any, int]
    missing: int
    other: int = -1

    @cached_property
    def categorical(self) -> bool:
        """Whether the field is a category."""
        return self.other >= 0

    def bin(self, value: Value) -> int:
        """Bin of one value; `None` and NaN are missing."""
        if value is None or value != value:
            return self.missing
        if self.categorical:
            return self.codes.get(value, self.other)
        found = self.codes.get(value) if self.codes else None
        return bisect_right(self.cuts, value) if found is None else found

    def bins(self, column: Column) -> np.ndarray:
        """Bins of a column, shape (n,)."""
        if isinstance(column, tuple):
            codes, levels = column
            lookup = np.array([self.bin(level) for level in levels] + [self.missing], dtype=np.intp)
            return lookup[codes]  # code -1 takes the last entry: missing
        found = np.searchsorted(self.cuts, column, side="right")
        for code, place in self.codes.items():
            found[column == code] = place
        found[np.isnan(column)] = self.missing
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain data; codes as pairs because JSON keys are text."""
        return {
            "field": self.field,
            "cuts": list(self.cuts),
            "codes": [[code, place] for code, place in self.codes.items()],
            "missing": self.missing,
            "other": self.other,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Axis:
        """The inverse of `to_json`."""
        return cls(data["field"], tuple(data["cuts"]), dict(map(tuple, data["codes"])), data["missing"], data["other"])


@dataclass(frozen=True)
class Term:
    """A table of values over the bins of one axis, shape (bins,), or of two, shape (bins, bins)."""

    axes: tuple[Axis, ...]
    table: np.ndarray

    def lookup(self, bins: Mapping[int, np.ndarray]) -> np.ndarray:
        """Values for rows whose bins are given by axis identity (`bins_of`), shape (n,)."""
        return self.table[tuple(bins[id(axis)] for axis in self.axes)]


@dataclass(frozen=True)
class LogOdds:
    """An additive model of the log-odds of default, before it is scaled to points."""

    terms: tuple[Term, ...]
    intercept: float

    def predict(self, columns: Mapping[str, Column]) -> np.ndarray:
        """Log-odds of default, shape (n,)."""
        bins = bins_of([axis for term in self.terms for axis in term.axes], columns)
        return np.add(self.intercept, sum(term.lookup(bins) for term in self.terms))

    def recalibrated(self, slope: float, intercept: float) -> LogOdds:
        """`slope * log-odds + intercept`: still additive, so reasons stay exact."""
        terms = tuple(Term(term.axes, term.table * slope) for term in self.terms)
        return LogOdds(terms, self.intercept * slope + intercept)

    def to_points(self, scale: Scale, resolution: int, weights: Mapping[str, Column]) -> AdditiveModel:
        """Integer tables, each centred on its average over the rows of `weights` (the training rows)."""
        base, terms = self.intercept, []
        bins = bins_of([axis for term in self.terms for axis in term.axes], weights)
        for term in self.terms:
            average = float(term.lookup(bins).mean())
            base += average
            points = np.rint((average - term.table) * scale.factor * resolution).astype(np.int32)
            terms.append(Term(term.axes, points))
        return AdditiveModel(tuple(terms), round(scale.points(base) * resolution), resolution, scale)


@dataclass(frozen=True)
class AdditiveModel:
    """Integer points. A term's average over the training rows is zero: a contribution compares with the average."""

    terms: tuple[Term, ...]
    base: int
    resolution: int
    scale: Scale

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Fields in the order of their contributions."""
        return tuple(dict.fromkeys(axis.field for term in self.terms for axis in term.axes))

    @cached_property
    def axes(self) -> list[Axis]:
        """The distinct axes; terms of one model share the axis of a field, so a value is binned once."""
        return list({id(axis): axis for term in self.terms for axis in term.axes}.values())

    @cached_property
    def _singles(self) -> list[tuple[int, int, list[int]]]:
        """Position of the field, position of the axis and the table of every term of one field."""
        field = {name: i for i, name in enumerate(self.fields)}
        axis = {id(axis): i for i, axis in enumerate(self.axes)}
        return [(field[t.axes[0].field], axis[id(t.axes[0])], t.table.tolist()) for t in self.terms if len(t.axes) == 1]

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, ...] | None:
        """All tables of two fields end to end; start, row length, axes of each, and fields (all first, all second)."""
        field = {name: i for i, name in enumerate(self.fields)}
        axis = {id(axis): i for i, axis in enumerate(self.axes)}
        pairs = [term for term in self.terms if len(term.axes) == 2]
        if not pairs:
            return None
        return (
            np.concatenate([term.table.ravel() for term in pairs]).astype(np.int64),
            np.cumsum([0, *(term.table.size for term in pairs[:-1])]),
            np.array([term.table.shape[1] for term in pairs]),
            np.array([axis[id(term.axes[0])] for term in pairs]),
            np.array([axis[id(term.axes[1])] for term in pairs]),
            np.array([field[term.axes[side].field] for side in (0, 1) for term in pairs]),
        )

    def score_one(self, record: Mapping[str, Value]) -> tuple[int, list[int]]:
        """Score and contribution per field (both in 1/resolution points) of one record.

        A pair's points go to both fields in halves (the Shapley split of a two-field effect).
        Fields one by one in plain Python, because NumPy costs about 2 us a call; the pairs, up to
        a thousand, in one go with NumPy.
        """
        bins = [axis.bin(record[axis.field]) for axis in self.axes]
        contributions = [0] * len(self.fields)
        for i, a, table in self._singles:
            contributions[i] += table[bins[a]]
        if self._pairs:
            tables, start, length, first, second, owners = self._pairs
            places = np.array(bins)
            points = tables[start + places[first] * length + places[second]]
            half = points >> 1
            # Sums of whole numbers far below 2**53: exact in float64.
            shares = np.bincount(owners, np.concatenate((half, points - half)), len(contributions))
            contributions = [own + int(share) for own, share in zip(contributions, shares.tolist(), strict=True)]
        return self.base + sum(contributions), contributions

    def score(self, columns: Mapping[str, Column]) -> np.ndarray:
        """Scores in 1/resolution points, shape (n,), int64; equal to `score_one` row by row."""
        bins = bins_of(self.axes, columns)
        total = np.full(len(next(iter(bins.values()))), self.base, dtype=np.int64)
        for term in self.terms:
            total += term.lookup(bins)
        return total

    def contributions(self, columns: Mapping[str, Column]) -> np.ndarray:
        """Contributions in 1/resolution points, shape (n, fields), int64."""
        bins = bins_of(self.axes, columns)
        place = {field: i for i, field in enumerate(self.fields)}
        found = np.zeros((len(next(iter(bins.values()))), len(self.fields)), dtype=np.int64)
        for term in self.terms:
            points = term.lookup(bins).astype(np.int64)
            share = points // 2 if len(term.axes) == 2 else points
            found[:, place[term.axes[0].field]] += share
            if len(term.axes) == 2:
                found[:, place[term.axes[1].field]] += points - share
        return found

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """Probability of default for scores in 1/resolution points, shape (n,)."""
        distinct, place = np.unique(scores, return_inverse=True)
        return np.array([self.scale.probability(score / self.resolution) for score in distinct.tolist()])[place]

    def to_json(self) -> dict[str, Any]:
        """Everything but the tables, which are arrays (`tables`)."""
        place = {id(axis): i for i, axis in enumerate(self.axes)}
        return {
            "base": self.base,
            "resolution": self.resolution,
            "scale": self.scale.model_dump(),
            "axes": [axis.to_json() for axis in self.axes],
            "terms": [[place[id(axis)] for axis in term.axes] for term in self.terms],
        }

    def tables(self) -> dict[str, np.ndarray]:
        """Tables by position, for safetensors."""
        return {f"{i:04d}": term.table for i, term in enumerate(self.terms)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], tables: Mapping[str, np.ndarray]) -> AdditiveModel:
        """The inverse of `to_json` and `tables`."""
        axes = [Axis.from_json(axis) for axis in data["axes"]]
        terms = tuple(
            Term(tuple(axes[place] for place in places), tables[f"{i:04d}"]) for i, places in enumerate(data["terms"])
        )
        return cls(terms, data["base"], data["resolution"], Scale(**data["scale"]))


def bins_of(axes: Sequence[Axis], columns: Mapping[str, Column]) -> dict[int, np.ndarray]:
    """Bins of every axis, shape (n,) each, by the axis' identity."""
    return {id(axis): axis.bins(columns[axis.field]) for axis in axes}
