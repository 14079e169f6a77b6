"""When to refuse: a promise about requests of a kind that nobody trained for, kept in each language by itself.

Kinds of requests (an intent, or a kind of what is out of scope) are left out of training in turn, and their utterances
scored by a model that has never seen their kind. The threshold is conformal over kinds, not utterances, since those of
one kind are alike (hierarchical conformal prediction: Lee, Barber & Willett, 2023): of an exchangeable new kind, at
least the promised share is refused. Folds make it cross-conformal (Barber et al., 2021).
The p-value of an utterance is its conformal rank among requests that are in scope (Bates et al., 2023): a threshold on
it is at once the share of these that is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from common.evaluation.conformal import Calibration

KEPT = 2_000
"""Scores in scope that are kept; quantiles of more."""


@dataclass(frozen=True)
class Gate:
    """Of one language: `known` are sorted scores (n,) in scope; at or below `threshold` a request is refused."""

    known: np.ndarray
    threshold: float
    promised: float
    kinds: int

    @classmethod
    def fit(cls, known: np.ndarray, unknown: np.ndarray, kind: np.ndarray, recall: float) -> Self:
        """From held-out scores in scope (n,), and out of scope (m,) with the kind (m,) of each.

        With k kinds no more than k / (k + 1) can be promised: `promised` says what is.
        """
        part = np.unique(kind, return_inverse=True)[1]
        held = Calibration(unknown, part)
        promised = min(recall, 1 - held.lowest_rate)
        ranks = np.linspace(0, 1, min(len(known), KEPT))
        return cls(np.quantile(known, ranks, method="nearest"), held.threshold(1 - promised), promised, held.parts)

    def p_value(self, score: float) -> float:
        """How many requests in scope score no higher, (1 + count) / (1 + n): small is unlike any of them."""
        below = int(np.searchsorted(self.known, score, side="right"))
        return (1 + below) / (1 + len(self.known))

    def p_values(self) -> np.ndarray:
        """Of the requests in scope themselves."""
        return np.array([self.p_value(score) for score in self.known])

    def refuses(self, scores: np.ndarray) -> np.ndarray:
        """bool (n,)."""
        return scores <= self.threshold

    def state(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "known": self.known.tolist(),
            "threshold": self.threshold,
            "promised": self.promised,
            "kinds": self.kinds,
        }

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """What `state` described."""
        return cls(np.array(state["known"]), state["threshold"], state["promised"], state["kinds"])


def set_threshold(true_chance: np.ndarray, coverage: float) -> float:
    """The least probability of an intent in a set that holds the one meant as often as `coverage`.

    After Sadinle et al. (2019); `true_chance` (n,) are held-out probabilities of the intents that were meant.
    """
    rank = int(np.floor((len(true_chance) + 1) * (1 - coverage)))
    return float(np.sort(true_chance)[max(rank - 1, 0)])
