"""From texts to the rows that a tagger reads, and from its scores to marks: the same in training and in service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from common.text.columns import Columns
from common.text.consistency import consistent
from common.text.tags import Mark, Tags
from common.text.tokens import Tokens
from common.text.units import units, windows
from common.text.viterbi import viterbi

BATCH = 16
PIECES = 510
"""Sub-words of a window at most, for encoders with 512 places; a longer one is cut in two."""
Emit = Callable[[np.ndarray], np.ndarray]
"""Rows int64 (windows, rows, columns) to scores float32 (windows, rows, tags)."""


@dataclass(frozen=True)
class Window:
    """Part of a text: rows int64 (rows, columns), the characters of its units, and the row where each unit begins."""

    rows: np.ndarray
    spans: list[tuple[int, int]]
    first: np.ndarray

    def targets(self, tags: Tags, marks: Sequence[Mark]) -> np.ndarray:
        """int64 (rows,): the tag of each unit at its first row, -1 at others."""
        found = np.full(len(self.rows), -1, np.int64)
        found[self.first] = tags.of(marks, self.spans)
        return found


class Reader:
    """Reads texts by `columns`; with `tokens` a row is a sub-word: its id + 1, whether it begins a unit, the columns.

    Without `tokens` a row is a unit. `longest` is the number of units of a window. With `same` marks are made
    `consistent` within each text.
    """

    def __init__(
        self, columns: Columns, *, tokens: Tokens | None = None, longest: int = 128, same: bool = False
    ) -> None:
        self.columns, self.tokens, self.longest, self.same = columns, tokens, longest, same
        self.tags = Tags(columns.gazetteer.labels)

    def windows(self, text: str, own: Sequence[Mark] | None = None) -> list[Window]:
        """All windows of a text; `own` as in `Gazetteer.features`."""
        spans = units(text, self.columns.kind)
        rows = self.columns(text, own)
        cuts = windows(text, spans, self.longest)
        if self.tokens is None:
            return [Window(rows[cut], spans[cut], np.arange(cut.stop - cut.start)) for cut in cuts]
        pieces = self.tokens.pieces([text[start:end] for start, end in spans])
        return [
            self._of_pieces(rows[part], spans[part], pieces[part]) for cut in cuts for part in _fitting(cut, pieces)
        ]

    def marks(self, texts: Sequence[str], emit: Emit, transitions: np.ndarray) -> list[list[Mark]]:
        """Of every text, by windows of similar length together."""
        work = [(row, window) for row, text in enumerate(texts) for window in self.windows(text)]
        work.sort(key=lambda item: len(item[1].rows))
        found: list[list[Mark]] = [[] for _ in texts]
        for start in range(0, len(work), BATCH):
            batch = work[start : start + BATCH]
            for (row, window), scores in zip(batch, emit(stacked([item.rows for _, item in batch])), strict=True):
                tags = viterbi(scores[window.first], transitions)
                found[row] += self.tags.marks(tags, window.spans)
        if self.same:
            return [consistent(text, own, self.columns.kind) for text, own in zip(texts, found, strict=True)]
        return [sorted(own) for own in found]

    def _of_pieces(self, rows: np.ndarray, spans: list[tuple[int, int]], pieces: list[list[int]]) -> Window:
        lengths = [len(own) for own in pieces]
        first = np.cumsum([0, *lengths[:-1]])
        ids = np.array([piece + 1 for own in pieces for piece in own], np.int64)
        begins = np.zeros(len(ids), np.int64)
        begins[first] = 1
        return Window(np.hstack([ids[:, None], begins[:, None], np.repeat(rows, lengths, axis=0)]), spans, first)


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays (rows, ...) as one (arrays, rows of the longest, ...), filled with 0."""
    found = np.zeros((len(rows), max(map(len, rows), default=0), *rows[0].shape[1:]), rows[0].dtype)
    for into, own in zip(found, rows, strict=True):
        into[: len(own)] = own
    return found


def _fitting(cut: slice, pieces: Sequence[Sequence[int]]) -> list[slice]:
    if cut.stop - cut.start < 2 or sum(map(len, pieces[cut])) <= PIECES:
        return [cut]
    middle = (cut.start + cut.stop) // 2
    return [*_fitting(slice(cut.start, middle), pieces), *_fitting(slice(middle, cut.stop), pieces)]
