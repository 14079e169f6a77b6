"""A linear-chain CRF over features of tokens, served by numpy: fitted by `fit_tagger.py`, kept as arrays and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.text.tags import Tags
from common.text.viterbi import viterbi
from healthcare.medical_records.deid.features import Classes, Token, features, tokens
from healthcare.medical_records.deid.identifiers import Kind

Found = tuple[Kind, int, int]
LABELS: tuple[Kind, ...] = (
    *("name", "location", "organization", "title", "group"),
    *("date", "age", "phone", "account", "other"),
)
"""What the tagger tells apart; kinds that rules find by their form are `other` to it."""
WINDOW, OVERLAP = 400, 40
"""Tokens that are tagged at once, and how many of them the next window sees again."""


class Tagger:
    """Emissions are sums of rows of `weights` float32 (features, tags); `transitions` (tags + 1, tags + 1).

    `caution` is taken from the score of being outside: more is found, and more that is nothing.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        weights: np.ndarray,
        transitions: np.ndarray,
        classes: Classes,
        caution: float = 0.0,
    ) -> None:
        self.vocabulary, self.classes, self.caution = list(vocabulary), classes, caution
        self.weights, self.transitions = weights.astype(np.float32), transitions.astype(np.float32)
        self._row = {name: row for row, name in enumerate(self.vocabulary)}
        self.tags = Tags(LABELS)

    def tag(self, folded: str, hits: Sequence[Found] = ()) -> list[Found]:
        """Kind, start and end in a folded text; `hits`, disjoint and in order, is what rules have found."""
        made = tokens(folded, hits)
        found: list[Found] = []
        for first in range(0, len(made), WINDOW - OVERLAP):
            window = made[first : first + WINDOW]
            last = first + WINDOW >= len(made)
            low = window[0].start if first == 0 else window[OVERLAP // 2].start
            high = window[-1].end if last else window[-OVERLAP // 2].start
            best = viterbi(self.emissions(folded, window), self.transitions)
            spans = [(token.start, token.end) for token in window]
            found += [
                (mark.label, mark.start, mark.end)  # type: ignore[misc]
                for mark in self.tags.marks(best, spans)
                if low <= mark.start < high
            ]
            if last:
                break
        return found

    def emissions(self, folded: str, made: Sequence[Token]) -> np.ndarray:
        """float32 (tokens, tags)."""
        row = self._row
        rows = [[row[name] for name in some if name in row] for some in features(folded, made, self.classes)]
        starts = np.cumsum([0, *(len(some) for some in rows)])[:-1]
        flat = np.fromiter((name for some in rows for name in some), np.int64)
        scores = np.add.reduceat(self.weights[flat], starts, axis=0) if len(flat) else np.zeros((0, len(self.tags)))
        scores[:, 0] -= self.caution
        return scores

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and JSON from which `of` makes the same tagger."""
        arrays = {"weights": self.weights.astype(np.float16), "transitions": self.transitions}
        return arrays, {
            "vocabulary": self.vocabulary,
            "caution": self.caution,
            "lists": self.classes.lists,
            "clusters": self.classes.clusters,
        }

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> Tagger:
        """The tagger that `state` described; weights were rounded to half precision."""
        classes = Classes(state["lists"], state["clusters"])
        return cls(state["vocabulary"], arrays["weights"], arrays["transitions"], classes, state["caution"])
