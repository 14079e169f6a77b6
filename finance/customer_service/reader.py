"""What a model makes of an utterance as a whole and of its parts: one score, and the intents that are meant."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from finance.customer_service.language import clauses, language_of, refers_back
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
    tried, and the best is that whose least sure part is surest; a greeting beside something else does not count.
    """
    plain = [unicodedata.normalize("NFKC", text) for text in texts]
    cuts = [clauses(text) for text in plain]
    runs = [_runs(text, spans) for text, spans in zip(plain, cuts, strict=True)]
    wanted = dict.fromkeys(run for of in runs for run in of.values())
    spoken = {run: language_of(run) or "" for run in wanted}
    known: dict[str, Part] = {}
    for one in {id(found): found for found in (model, *(others or {}).values())}.values():
        mine = [run for run in wanted if (others or {}).get(spoken[run], model) is one]
        known |= dict(zip(mine, _parts(one, mine, spoken), strict=True))
    whole = model.chances(model.scores(texts)) if texts else np.empty((0, len(model.intents)))
    sure, readings = sureness(whole), []
    for row, (of, spans) in enumerate(zip(runs, cuts, strict=True)):
        ways = [_serious([known[of[run]] for run in way]) for way in _ways(len(spans))]
        parts = max(ways, key=least_chance, default=())
        several = tuple(
            way
            for way, cut in zip(ways, _ways(len(spans)), strict=True)
            if len({part.intent for part in way}) > 1 and not any(refers_back(of[run]) for run in cut[1:])
        )
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


def _runs(text: str, spans: Sequence[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """The text of clauses `first` to before `last`, for all of them but the whole; none of a single clause."""
    count = len(spans)
    borders = [(i, j) for i in range(count) for j in range(i + 1, count + 1) if j - i < count]
    return {(i, j): text[spans[i][0] : spans[j - 1][1]].strip(" ,:、") for i, j in borders}


def _ways(count: int) -> Iterator[list[tuple[int, int]]]:
    """All ways to cut so many clauses into two runs or more."""
    for size in range(1, count):
        for cuts in combinations(range(1, count), size):
            yield list(zip((0, *cuts), (*cuts, count), strict=True))


def _parts(model: Classifier, texts: Sequence[str], spoken: Mapping[str, str]) -> list[Part]:
    if not texts:
        return []
    chances = model.chances(model.scores(texts))
    best, sure = chances.argmax(axis=1), sureness(chances)
    return [
        Part(model.intents[place], float(row[place]), float(score), spoken[text])
        for text, row, place, score in zip(texts, chances, best, sure, strict=True)
    ]


def _serious(parts: Sequence[Part]) -> tuple[Part, ...]:
    return tuple(part for part in parts if part.intent not in SMALL_TALK) or tuple(parts)
