"""A sliding window as a ring of slices of counts: adding is O(fields), memory is fixed."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from common.monitoring.bins import Layout, WindowCounts


class Times(Protocol):
    """Seconds; see `OnlineLimits`."""

    @property
    def window_s(self) -> float: ...  # noqa: D102
    @property
    def longest_s(self) -> float: ...  # noqa: D102
    @property
    def slice_s(self) -> float: ...  # noqa: D102


class Ring:
    """The counts of the last `longest_s` seconds in slices of `slice_s`; used by one thread only."""

    def __init__(self, layout: Layout, times: Times, now: float) -> None:
        slices = max(2, round(times.longest_s / times.slice_s))
        self._times, self._born, self._current = times, now, int(now // times.slice_s)
        self._counts = np.zeros((slices, layout.width), dtype=np.int32)
        self._rows, self._seen = np.zeros(slices, dtype=np.int64), np.zeros(slices, dtype=np.int64)
        self._lows = np.full((slices, len(layout.fields)), np.inf, dtype=np.float64)
        self._highs = -self._lows

    def turn(self, now: float, seen: int) -> None:
        """Go on to the slice of `now`, emptying those between, and note how many rows passed. Time never goes back."""
        place = max(self._current, int(now // self._times.slice_s))
        for passed in range(self._current + 1, min(place, self._current + len(self._rows)) + 1):
            self._empty(passed % len(self._rows))
        if place - self._current > len(self._rows):
            self._empty(place % len(self._rows))
        self._current = place
        self._seen[place % len(self._rows)] += seen

    def add(self, counted: WindowCounts) -> None:
        """Add counts to the present slice."""
        here = self._current % len(self._rows)
        self._counts[here] += counted.counts.astype(np.int32)
        self._rows[here] += counted.n
        np.minimum(self._lows[here], counted.lows, out=self._lows[here])
        np.maximum(self._highs[here], counted.highs, out=self._highs[here])

    def window(self, now: float, min_rows: int) -> tuple[WindowCounts, int, float]:
        """Counts of the window, rows that passed, and its start; longer than `window_s` only for want of rows."""
        order = (self._current - np.arange(len(self._rows))) % len(self._rows)  # newest first
        enough = int(np.searchsorted(self._rows[order].cumsum(), min_rows)) + 1
        used = order[: max(enough, round(self._times.window_s / self._times.slice_s))]
        since = max(self._born, (self._current - len(used) + 1) * self._times.slice_s)
        counts = WindowCounts(
            int(self._rows[used].sum()),
            self._counts[used].sum(axis=0, dtype=np.int64),
            self._lows[used].min(axis=0),
            self._highs[used].max(axis=0),
        )
        return counts, int(self._seen[used].sum()), min(since, now)

    def _empty(self, place: int) -> None:
        self._counts[place] = self._rows[place] = self._seen[place] = 0
        self._lows[place], self._highs[place] = np.inf, -np.inf
