"""What a model makes of an utterance as a whole and of its parts: one score, and the intents that are meant."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from finance.customer_service.language import INTRODUCES, clauses, language_of, refers_back
from finance.customer_service.model import Classifier

SMALL_TALK = frozenset({"greeting", "thanks"})
"""Intents that mean nothing beside another."""
BEST = 3


@dataclass(frozen=True)
class Part:
    """A run of clauses: its intent, the chance of it, its score, and its language, of the model that read it."""

    intent: str
    chance: float
    score: float
    language: str


@dataclass(frozen=True)
class Reading:
    """`chances` (intents,) of the whole, the `score` that decides on refusal, the `parts` of the surest way to cut
    it, and all ways to find several intents in it; both empty where there are none."""

    chances: np.ndarray
    score: float
    parts: tuple[Part, ...] = ()
    several: tuple[tuple[Part, ...], ...] = ()


def read(model: Classifier, texts: Sequence[str], others: Mapping[str, Classifier] | None = None) -> list[Reading]:
    """Readings in the order of the texts; `others` read parts in their languages.

    The score is the chance that one of the few best intents is meant: who hesitates between two of them is asked, not
    refused. An utterance is as sure as the whole is, or as the least sure of its parts when it is cut best, whichever
    is more: two requests in one are like neither, and both must be known. Every way to cut it at borders of clauses is
    tried, and the best is that whose least sure part is surest; a greeting or a name counts for nothing beside more.
    """
    cuts = [_cuts(unicodedata.normalize("NFKC", text)) for text in texts]
    wanted = dict.fromkeys(part for ways in cuts for way in ways for part in way)
    spoken, others = {part: language_of(part) or "" for part in wanted}, others or {}
    known: dict[str, Part] = {}
    for one in {id(found): found for found in (model, *others.values())}.values():
        mine = [part for part in wanted if others.get(spoken[part], model) is one]
        known |= dict(zip(mine, _parts(one, mine, spoken), strict=True))
    whole = model.chances(model.scores(texts)) if texts else np.empty((0, len(model.intents)))
    sure, readings = sureness(whole), []
    for row, ways in enumerate(cuts):
        read = [(_serious([known[part] for part in way]), any(map(refers_back, way[1:]))) for way in ways]
        parts = max((way for way, _ in read), key=least_chance, default=())
        several = tuple(way for way, leans in read if not leans and len({part.intent for part in way}) > 1)
        least = min((part.score for part in parts), default=0.0)
        readings.append(Reading(whole[row], max(float(sure[row]), least), parts, several))
    return readings


def least_chance(parts: Sequence[Part]) -> float:
    """Of the least sure part."""
    return min((part.chance for part in parts), default=0.0)


def sureness(chances: np.ndarray) -> np.ndarray:
    """The sum of the best three of chances (texts, intents), of fewer where there are less than 15: (texts,)."""
    most = max(1, min(BEST, chances.shape[1] // 5))
    total: np.ndarray = np.sort(chances, axis=1)[:, -most:].sum(axis=1)
    return total


def _cuts(text: str) -> list[list[str]]:
    """All ways to cut a text at borders of clauses, into two parts or more."""
    spans = clauses(text)
    ways = [cuts for size in range(1, len(spans)) for cuts in combinations(range(1, len(spans)), size)]
    ends = [list(zip((0, *cuts), (*cuts, len(spans)), strict=True)) for cuts in ways]
    return [[text[spans[i][0] : spans[j - 1][1]].strip(" ,:、") for i, j in way] for way in ends]


def _parts(model: Classifier, texts: Sequence[str], spoken: Mapping[str, str]) -> list[Part]:
    if not texts:
        return []
    chances = model.chances(model.scores(texts))
    best, sure = chances.argmax(axis=1), sureness(chances)
    return [
        Part(
            "greeting" if INTRODUCES.fullmatch(text) else model.intents[place],
            float(row[place]),
            float(score),
            spoken[text],
        )
        for text, row, place, score in zip(texts, chances, best, sure, strict=True)
    ]


def _serious(parts: Sequence[Part]) -> tuple[Part, ...]:
    return tuple(part for part in parts if part.intent not in SMALL_TALK) or tuple(parts)
