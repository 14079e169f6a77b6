"""Labelled pieces of a text as one tag for every unit (BIOES), and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

OUTSIDE = 0
BEGIN, INSIDE, END, SINGLE = range(4)
"""Place of a unit in its mark; a mark of one unit is a `SINGLE`."""


@dataclass(frozen=True, order=True)
class Mark:
    """Characters start to end (exclusive) of a text are a `label`."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Tags:
    """Tag 0 is outside of every mark; label k has the tags 1 + 4 k + place (Ratinov & Roth, 2009: better than BIO)."""

    labels: tuple[str, ...]

    def __len__(self) -> int:
        return 1 + 4 * len(self.labels)

    def of(self, marks: Iterable[Mark], units: Sequence[tuple[int, int]]) -> np.ndarray:
        """Tags int64 (units,) of a text whose units begin and end at these characters, in order.

        A unit that a mark touches belongs to it. Where marks overlap the one that begins first counts, of two the
        longer. Raises `KeyError` for another label.
        """
        numbers = {label: number for number, label in enumerate(self.labels)}
        found = np.zeros(len(units), np.int64)
        starts, ends = np.array(units, np.int64).reshape(-1, 2).T
        for mark in sorted(marks, key=lambda mark: (mark.start, -mark.end)):
            first, last = int(np.searchsorted(ends, mark.start, "right")), int(np.searchsorted(starts, mark.end)) - 1
            if first > last or found[first : last + 1].any():
                continue
            base = 1 + 4 * numbers[mark.label]
            found[first : last + 1] = base + INSIDE
            found[first], found[last] = base + BEGIN, base + END
            if first == last:
                found[first] = base + SINGLE
        return found

    def marks(self, tags: Sequence[int] | np.ndarray, units: Sequence[tuple[int, int]]) -> list[Mark]:
        """The marks of legal tags; what no rule allows to follow is left out."""
        found: list[Mark] = []
        opened: tuple[int, int] | None = None  # label, character
        for tag, (start, end) in zip(tags, units, strict=True):
            label, place = divmod(int(tag) - 1, 4)
            if tag == OUTSIDE:
                opened = None
            elif place == SINGLE:
                found.append(Mark(start, end, self.labels[label]))
                opened = None
            elif place == BEGIN:
                opened = (label, start)
            elif opened is None or opened[0] != label:
                opened = None
            elif place == END:
                found.append(Mark(opened[1], end, self.labels[label]))
                opened = None
        return found

    @cached_property
    def allowed(self) -> np.ndarray:
        """bool (tags + 1, tags + 1): may the column follow the row; the last row begins, the last column ends."""
        size = len(self) + 1
        tags = np.arange(size)
        label, place = np.divmod(tags - 1, 4)
        label[[0, -1]], place[[0, -1]] = -1, SINGLE  # outside, begin and end are as after and before a whole mark
        whole = np.isin(place, (END, SINGLE))[:, None] & np.isin(place, (BEGIN, SINGLE))[None, :]
        within = np.isin(place, (BEGIN, INSIDE))[:, None] & np.isin(place, (INSIDE, END))[None, :]
        allowed = whole | (within & (label[:, None] == label[None, :]))
        allowed[-1, -1] = False
        return allowed


def agreement(truth: Sequence[Iterable[Mark]], found: Sequence[Iterable[Mark]]) -> np.ndarray:
    """Of every text int64 (texts, 3): marks that are in both, in the truth, and found; same characters, same label."""
    rows = [(set(own), set(other)) for own, other in zip(truth, found, strict=True)]
    return np.array([(len(own & other), len(own), len(other)) for own, other in rows], np.int64).reshape(-1, 3)


def span_scores(counts: np.ndarray) -> dict[str, float]:
    """Precision, recall and F1 over all marks of `agreement`'s counts (texts, 3) or (3,); 0 where there is nothing."""
    both, truth, found = np.asarray(counts).reshape(-1, 3).sum(0).tolist()
    return {
        "precision": both / found if found else 0.0,
        "recall": both / truth if truth else 0.0,
        "f1": 2 * both / (truth + found) if truth + found else 0.0,
    }
