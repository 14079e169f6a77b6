"""What a model makes of an utterance as a whole and of its clauses: one score, and the intents that are meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finance.customer_service.language import clauses
from finance.customer_service.model import Classifier

SMALL_TALK = frozenset({"greeting", "thanks"})
"""Intents that mean nothing beside another."""
BEST = 3


@dataclass(frozen=True)
class Reading:
    """`chances` (intents,) of the whole, the `score` that decides on refusal, and of each clause, where there are
    several, the position of its intent, its chance and its score."""

    chances: np.ndarray
    score: float
    parts: tuple[tuple[int, float, float], ...] = ()


def read(model: Classifier, texts: Sequence[str]) -> list[Reading]:
    """Readings in the order of the texts.

    The score is the chance that one of the few best intents is meant: who hesitates between two of them is asked, not
    refused. An utterance is as sure as the whole is, or as the least sure of its clauses, whichever is more: two
    requests in one are like neither, and both must be known. A greeting beside something else does not count.
    """
    small = [place for place, name in enumerate(model.intents) if name in SMALL_TALK]
    cut = [clauses(text) for text in texts]
    several = [parts if len(parts) > 1 else [] for parts in cut]
    flat = [*texts, *(part for parts in several for part in parts)]
    chances = model.chances(model.scores(flat)) if flat else np.empty((0, len(model.intents)))
    sure = sureness(chances)
    readings, at = [], len(texts)
    for row, parts in enumerate(several):
        own = chances[row]
        here = range(at, at + len(parts))
        found = [(int(chances[i].argmax()), float(chances[i].max()), float(sure[i])) for i in here]
        at += len(parts)
        serious = [one for one in found if one[0] not in small] or found
        least = min((score for *_, score in serious), default=0.0)
        readings.append(Reading(own, max(float(sure[row]), least), tuple(serious)))
    return readings


def sureness(chances: np.ndarray) -> np.ndarray:
    """The sum of the best three of chances (texts, intents), of fewer where there are less than 15: (texts,)."""
    most = max(1, min(BEST, chances.shape[1] // 5))
    total: np.ndarray = np.sort(chances, axis=1)[:, -most:].sum(axis=1)
    return total
