"""Counts of values in the bins of a reference: what a window is reduced to, and all that is kept of it.

NumPy only: a service counts without pandas. The bins are those of `common.evaluation.stability`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import DataError

Counts = NDArray[np.int64]


class FieldBins:
    """One field of `reference.json`: `edges` or `levels`, `shares` (the last one: other levels), `missing`, `n`.

    An optional `range: [low, high]` is what training saw, or what the schema allows; null is open.
    """

    def __init__(self, name: str, histogram: Mapping[str, Any]) -> None:
        self.name = name
        try:
            self.shares = np.asarray(histogram["shares"], dtype=float)
            self.missing, self.n = float(histogram["missing"]), int(histogram["n"])
            self.edges = np.asarray(histogram["edges"], dtype=float) if "edges" in histogram else None
            self.levels = None if self.edges is not None else list(histogram["levels"])
            bins = len(self.edges if self.edges is not None else histogram["levels"]) + 1
        except (KeyError, TypeError, ValueError):
            bins = -1
        if bins != len(getattr(self, "shares", ())) or self.n < 1:
            raise DataError(
                "not a histogram", where=f"reference, field {name!r}", expected="edges or levels, shares, missing, n"
            )
        low, high = histogram.get("range") or (None, None)
        self.low, self.high = -inf if low is None else float(low), inf if high is None else float(high)
        self._place = {level: i for i, level in enumerate(self.levels or ())}

    @property
    def width(self) -> int:
        """Bins, then the missing, then how many of the known are out of range."""
        return len(self.shares) + 2

    @property
    def has_range(self) -> bool:
        """Whether out of range means anything here."""
        return self.edges is not None and (isfinite(self.low) or isfinite(self.high))

    @property
    def complete(self) -> bool:
        """Whether the levels are all that training saw, so that any other is unseen."""
        return self.levels is not None and self.shares[-1] == 0

    @property
    def reference(self) -> NDArray[np.float64]:
        """Rows of the reference in each bin, without the missing."""
        return self.shares * self.n

    def count(self, values: Any) -> tuple[Counts, float, float]:
        """Counts of shape `(width,)`, and the smallest and largest number (inf, -inf without one)."""
        counts = np.zeros(self.width, dtype=np.int64)
        if self.levels is not None:
            self._count_levels(values, counts)
            return counts, inf, -inf
        assert self.edges is not None
        numbers = to_numbers(values)
        known = numbers[~np.isnan(numbers)]
        counts[:-2] = np.bincount(np.searchsorted(self.edges, known, side="left"), minlength=len(self.shares))
        counts[-2] = len(numbers) - len(known)
        if not len(known):
            return counts, inf, -inf
        low, high = float(known.min()), float(known.max())
        if low < self.low or high > self.high:
            counts[-1] = np.count_nonzero((known < self.low) | (known > self.high))
        return counts, low, high

    def _count_levels(self, values: Any, counts: Counts) -> None:
        listed = values.tolist() if isinstance(values, np.ndarray) else values
        try:
            found = Counter(listed)
        except TypeError:  # a list or a dict is no level, but must not stop the count
            found = Counter(value if isinstance(value, str | int | float) else str(value) for value in listed)
        other = len(self._place)
        for value, times in found.items():
            if is_missing(value):
                counts[-2] += times
            else:
                counts[self._place.get(_level(value), other)] += times


@dataclass(frozen=True)
class WindowCounts:
    """A window of `n` rows over a layout: all counts in one vector, smallest and largest number per field."""

    n: int
    counts: Counts
    lows: NDArray[np.float64]
    highs: NDArray[np.float64]


class Layout:
    """Where each field's counts stand in one vector of length `width`."""

    def __init__(self, reference: Mapping[str, Mapping[str, Any]], skip: Sequence[str] = ()) -> None:
        self.fields = [FieldBins(name, histogram) for name, histogram in reference.items() if name not in skip]
        ends = np.cumsum([0, *(field.width for field in self.fields)])
        self.places = [slice(int(a), int(b)) for a, b in pairwise(ends)]
        self.width = int(ends[-1])

    def count(self, columns: Any, n: int) -> WindowCounts:
        """Count `n` rows of a DataFrame or a mapping of columns; a column that is not there is all missing."""
        counts = np.zeros(self.width, dtype=np.int64)
        lows, highs = np.full(len(self.fields), inf), np.full(len(self.fields), -inf)
        for i, (field, place) in enumerate(zip(self.fields, self.places, strict=True)):
            if field.name in columns:
                values = columns[field.name]
                values = values if isinstance(values, list) else np.asarray(values)
                counts[place], lows[i], highs[i] = field.count(values)
            else:
                counts[place.stop - 2] = n
        return WindowCounts(n, counts, lows, highs)


def to_numbers(values: Any) -> NDArray[np.float64]:
    """Floats of shape (n,), NaN for what is missing or no number: text is as good as missing."""
    try:
        numbers = np.asarray(values, dtype=float)
        if numbers.ndim == 1:
            return numbers
    except (TypeError, ValueError, OverflowError):
        pass
    return np.array([_number(value) for value in values], dtype=float)


def is_missing(value: Any) -> bool:
    """None, NaN, and pandas' NA and NaT (known by name: a service has no pandas)."""
    return (
        value is None or (isinstance(value, float) and value != value) or type(value).__name__ in ("NAType", "NaTType")
    )


def _number(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return inf
    except (TypeError, ValueError):
        return float("nan")


def _level(value: Any) -> Any:
    """As `common.evaluation.stability` writes levels: 1 equals 1.0, booleans are `true` and `false`."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, int | float | np.number):
        return _number(value)
    return str(value)
