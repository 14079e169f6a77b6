"""From a reading to a decision: answer, ask which of a few, or refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from finance.customer_service.reader import Reading, least_chance
from finance.customer_service.understood import Language

if TYPE_CHECKING:
    from finance.customer_service.serve import Brain

HANDOFF = "handoff"
SEVERAL = 0.8
"""Least chance of each of several requests in one: of requests held out of training, as the reference preset has them,
97 in 100 stay one, and 89 of 100 pairs that are found at all are taken for two; at .9 it is 98 and 82."""


@dataclass(frozen=True)
class Decided:
    """What to do, the intents it is about with their probabilities, why, and the p-value of being in scope."""

    decision: Literal["answer", "clarify", "refuse", "handoff"]
    intents: tuple[tuple[str, float], ...]
    reason: str
    p_value: float | None


def decide(brains: Mapping[str, Brain], language: Language, reading: Reading, most_asked: int) -> Decided:
    """The decision on one utterance; each of its parts must pass the gate of its own language."""
    brain, gates = brains[language], {spoken: one.gates[spoken] for spoken, one in brains.items()}
    gate, names = gates[language], brain.classifier.intents
    own = [(part, gates.get(part.language, gate)) for part in reading.several]
    p_value = gate.p_value(reading.score)
    if own and least_chance(reading.several) >= SEVERAL and all(part.score > its.threshold for part, its in own):
        found = {part.intent: part.chance for part, _ in sorted(own, key=lambda one: one[0].chance)}
        asked = tuple(sorted(found.items(), key=lambda one: -one[1]))  # of one intent twice, the surer one
        p_value = max(p_value, min(its.p_value(part.score) for part, its in own))
        return Decided("answer", asked, f"{len(asked)} requests in one, each sure enough", p_value)
    order = np.argsort(-reading.chances, kind="stable")
    best = (names[order[0]], float(reading.chances[order[0]]))
    if reading.score <= gate.threshold:
        told = f"not sure enough of any intent: {reading.score:.2f}, of at least {gate.threshold:.2f} that a promised "
        told += f"recall of {gate.promised:.0%} on requests of a new kind asks for"
        return Decided("refuse", (best,), told, p_value)
    sure = [(one.intent, one.chance) for one in reading.parts if one.score > gates.get(one.language, gate).threshold]
    surest = max(sure, key=lambda one: one[1], default=best)
    if surest[1] > best[1]:
        return _one(surest, "a part is surer than the whole", p_value)
    close = [(names[i], float(reading.chances[i])) for i in order if reading.chances[i] >= brain.in_question]
    if len(close) > 1:
        return Decided("clarify", tuple(close[:most_asked]), f"{len(close)} intents are close", p_value)
    return _one(best, "one intent is left", p_value)


def _one(intent: tuple[str, float], reason: str, p_value: float) -> Decided:
    return Decided("handoff" if intent[0] == HANDOFF else "answer", (intent,), reason, p_value)
