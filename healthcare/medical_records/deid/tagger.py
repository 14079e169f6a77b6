"""A linear-chain CRF over features of tokens, served by numpy: fitted by `fit_tagger.py`, kept as arrays and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.text.chances import chances
from common.text.tags import OUTSIDE, Mark, Tags
from common.text.viterbi import viterbi
from healthcare.medical_records.abbreviations import known_abbreviations
from healthcare.medical_records.deid.features import Classes, Token, features, tokens
from healthcare.medical_records.deid.identifiers import Kind
from healthcare.medical_records.deid.patterns import cue_words

Found = tuple[Kind, int, int]
LABELS: tuple[Kind, ...] = (
    *("name", "location", "organization", "title", "group"),
    *("date", "age", "phone", "account", "other"),
)
"""What the tagger tells apart; kinds that rules find by their form are `other` to it."""
NAMED: dict[str, Kind] = {label: label for label in LABELS}
HARMLESS = {short for short in known_abbreviations() if short.isascii() and len(short) > 2} | {
    *cue_words()["names"]["not"]
}
"""Words that are not masked in doubt: COPD, Patient. Of two letters are states too."""
WINDOW, OVERLAP = 400, 40
"""Tokens that are tagged at once, and how many of them the next window sees again."""


class Tagger:
    """Emissions are sums of rows of `weights` float32 (features, tags); `transitions` (tags + 1, tags + 1).

    `sure` is how likely it must be that a token is outside, or it is masked for whatever it is most likely: the best
    path alone leaves what is a name, a place or an employer, but no one knows which. Recall first.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        weights: np.ndarray,
        transitions: np.ndarray,
        classes: Classes,
        sure: float = 0.5,
    ) -> None:
        self.vocabulary, self.classes, self.sure = list(vocabulary), classes, sure
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
            for mark in self._marks(self.emissions(folded, window), window):
                if low <= mark.start < high:
                    found += _lines(folded, mark)
            if last:
                break
        return found

    def emissions(self, folded: str, made: Sequence[Token]) -> np.ndarray:
        """float32 (tokens, tags)."""
        row = self._row
        rows = [[row[name] for name in some if name in row] for some in features(folded, made, self.classes)]
        starts = np.cumsum([0, *(len(some) for some in rows)])[:-1]
        flat = np.fromiter((name for some in rows for name in some), np.int64)
        return np.add.reduceat(self.weights[flat], starts, axis=0) if len(flat) else np.zeros((0, len(self.tags)))

    def _marks(self, scores: np.ndarray, made: Sequence[Token]) -> list[Mark]:
        """The best path's marks, then the tokens in doubt, neighbours of a kind as one."""
        best, likely = viterbi(scores, self.transitions), chances(scores, self.transitions)
        kinds = likely[:, 1:].reshape(len(made), -1, 4).sum(axis=2).argmax(axis=1)
        marks = self.tags.marks(best, [(token.start, token.end) for token in made])
        before = -2
        for at in np.flatnonzero((best == OUTSIDE) & (likely[:, OUTSIDE] < self.sure)).tolist():
            token, label = made[at], self.tags.labels[kinds[at]]
            if token.text[0] == "<" or token.text == "\n" or token.text in HARMLESS:
                continue
            if before == at - 1 and marks[-1].label == label:
                marks[-1] = Mark(marks[-1].start, token.end, label)
            else:
                marks.append(Mark(token.start, token.end, label))
            before = at
        return marks

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and JSON from which `of` makes the same tagger."""
        arrays: dict[str, np.ndarray] = {"weights": self.weights.astype(np.float16), "transitions": self.transitions}
        return arrays, {
            "vocabulary": self.vocabulary,
            "sure": self.sure,
            "lists": self.classes.lists,
            "clusters": self.classes.clusters,
        }

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> Tagger:
        """The tagger that `state` described; weights were rounded to half precision."""
        classes = Classes(state["lists"], state["clusters"])
        return cls(state["vocabulary"], arrays["weights"], arrays["transitions"], classes, state["sure"])


def _lines(folded: str, mark: Mark) -> list[Found]:
    """A mark, cut at line breaks: only an address goes over several lines."""
    kind = NAMED[mark.label]
    if kind == "location":
        return [(kind, mark.start, mark.end)]
    pieces: list[Found] = []
    at = mark.start
    for line in folded[mark.start : mark.end].split("\n"):
        pieces.append((kind, at, at + len(line)))
        at += len(line) + 1
    return pieces
