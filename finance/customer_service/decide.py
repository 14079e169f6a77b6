"""From a reading to a decision: answer, ask which of a few, or refuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from finance.customer_service.reader import Reading
from finance.customer_service.understood import Language

if TYPE_CHECKING:
    from finance.customer_service.serve import Brain

HANDOFF = "handoff"


@dataclass(frozen=True)
class Decided:
    """What to do, the intents it is about with their probabilities, why, and the p-value of being in scope."""

    decision: Literal["answer", "clarify", "refuse", "handoff"]
    intents: tuple[tuple[str, float], ...]
    reason: str
    p_value: float | None


def decide(brain: Brain, language: Language, reading: Reading, most_asked: int) -> Decided:
    """The decision on one utterance."""
    gate, names = brain.gates[language], brain.classifier.intents
    order = np.argsort(-reading.chances, kind="stable")
    best = (names[order[0]], float(reading.chances[order[0]]))
    p_value = gate.p_value(reading.score)
    if reading.score <= gate.threshold:
        told = f"not sure enough of any intent: {reading.score:.2f}, of at least {gate.threshold:.2f} that a promised "
        told += f"recall of {gate.promised:.0%} on requests of a new kind asks for"
        return Decided("refuse", (best,), told, p_value)
    meant = [(names[place], chance) for place, chance, score in reading.parts if score > gate.threshold]
    if len({name for name, _ in meant}) > 1:
        found = dict(sorted(meant, key=lambda one: one[1]))  # of one intent twice, the surer one stays
        asked = tuple(sorted(found.items(), key=lambda one: -one[1]))
        return Decided("answer", asked, f"{len(asked)} requests in one, each sure enough", p_value)
    if meant and meant[0][1] > best[1]:
        return _one(meant[0], "its clauses are surer than the whole", p_value)
    close = [(names[i], float(reading.chances[i])) for i in order if reading.chances[i] >= brain.in_question]
    if len(close) > 1:
        return Decided("clarify", tuple(close[:most_asked]), f"{len(close)} intents are close", p_value)
    return _one(best, "one intent is left", p_value)


def _one(intent: tuple[str, float], reason: str, p_value: float) -> Decided:
    return Decided("handoff" if intent[0] == HANDOFF else "answer", (intent,), reason, p_value)
