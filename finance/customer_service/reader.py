"""What a model makes of an utterance as a whole and of its clauses: one score, and the intents that are meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finance.customer_service.language import clauses
from finance.customer_service.model import Classifier

SMALL_TALK = frozenset({"greeting", "thanks"})
"""Intents that mean nothing beside another."""


@dataclass(frozen=True)
class Reading:
    """`chances` (intents,) of the whole, the `score` that decides on refusal, and position and chance of each clause's
    intent where there are several; the score of a clause is its chance."""

    chances: np.ndarray
    score: float
    parts: tuple[tuple[int, float], ...] = ()


def read(model: Classifier, texts: Sequence[str]) -> list[Reading]:
    """Readings in the order of the texts.

    An utterance is as sure as the whole is, or as the least sure of its clauses, whichever is more: two requests in
    one are like neither, and both must be known. A greeting beside something else does not count.
    """
    small = [place for place, name in enumerate(model.intents) if name in SMALL_TALK]
    cut = [clauses(text) for text in texts]
    several = [parts if len(parts) > 1 else [] for parts in cut]
    flat = [*texts, *(part for parts in several for part in parts)]
    chances = model.chances(model.scores(flat)) if flat else np.empty((0, len(model.intents)))
    readings, at = [], len(texts)
    for row, parts in enumerate(several):
        own = chances[row]
        found = [(int(p.argmax()), float(p.max())) for p in chances[at : at + len(parts)]]
        at += len(parts)
        serious = [(place, p) for place, p in found if place not in small] or found
        least = min((p for _, p in serious), default=0.0)
        readings.append(Reading(own, max(float(own.max()), least), tuple(serious)))
    return readings
