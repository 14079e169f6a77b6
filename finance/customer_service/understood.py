"""What was understood of one utterance: the words that `serve`, `dialogue` and `words` share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "zh"]
Decision = Literal["answer", "clarify", "refuse"]
Kind = Literal["amount", "currency", "date", "account", "card"]


@dataclass(frozen=True)
class Entity:
    """A thing named in a text: `text[start:end]` in characters, and its normal form.

    `value` by kind: amount "1234.50", currency "EUR" (ISO 4217), date "2026-11-29" (ISO 8601), account without blanks,
    card its digits (or the last four).
    """

    kind: Kind
    start: int
    end: int
    text: str
    value: str


@dataclass(frozen=True)
class Understood:
    """Language, intents with their probabilities, what to do with them, and what is named.

    Intents are in the order of the message where several are asked for, else the best first; `unread` says why a
    message was not read at all.
    """

    language: Language
    intents: tuple[tuple[str, float], ...]
    decision: Decision
    entities: tuple[Entity, ...] = ()
    reason: str = ""
    unread: Literal["", "empty", "long", "language"] = ""
