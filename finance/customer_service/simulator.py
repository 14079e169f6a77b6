"""Simulated customers: phrases of `utterances.toml`, filled in, reworded and mistyped, in English and Chinese."""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

SIMULATED = "bank-simulated"
LANGUAGES = ("en", "zh")
AROUND, OTHER_WORDS, MISTYPED, VARIANTS = 0.25, 0.3, 0.12, 6
"""How often a phrase gets words before or after, a word is said otherwise, a finger slips; and tries at each phrase."""
HELD_OUT = 3
"""One kind of out-of-scope request in so many, and three phrases of every intent, are for the test alone."""


@dataclass(frozen=True)
class Said:
    """One utterance. `intent` is empty out of scope, where `kind` says what it is: `near.loan` or `far.weather`.

    `phrase` numbers the line of the file that it was made from: a split keeps all of one phrase together.
    """

    text: str
    intent: str
    language: str
    kind: str
    phrase: int


@cache
def phrases() -> dict[str, Any]:
    """The file of phrases."""
    return tomllib.loads(files(__package__).joinpath("utterances.toml").read_text(encoding="utf-8"))


def simulate(seed: int, *, test: bool) -> list[Said]:
    """What customers say: with `test` what is held back, else all others. The same seed, the same text."""
    made, number = [], 0
    for scope in ("intents", "near", "far"):
        kinds = sorted(phrases()[scope])
        hidden = set(random.Random(f"{seed} {scope}").sample(kinds, len(kinds) // HELD_OUT))
        for kind in kinds:
            for language in LANGUAGES:
                lines = phrases()[scope][kind][language]
                order = random.Random(f"{seed} {kind} {language}").sample(range(len(lines)), len(lines))
                for place in order:
                    number += 1
                    held = place in order[:HELD_OUT] if scope == "intents" else kind in hidden
                    if held == test:
                        intent = kind if scope == "intents" else ""
                        label = "" if intent else f"{scope}.{kind}"
                        rng = random.Random(f"{seed} {number}")
                        texts = dict.fromkeys(_say(lines[place], language, rng) for _ in range(VARIANTS))
                        made += [Said(text, intent, language, label, number) for text in texts]
    return made


def _say(line: str, language: str, rng: random.Random) -> str:
    """One way to say a phrase."""
    text = re.sub(r"\(([^()]*)\)", lambda found: rng.choice(found[1].split("|")), line)
    for group in phrases()["same"][language]:
        if rng.random() < OTHER_WORDS:
            text = _in_other_words(text, group, language, rng)
    slots = phrases()["slots"][language]
    text = re.sub(r"\{(\w+)\}", lambda found: rng.choice(slots[found[1]]), text)
    around = phrases()["around"][language]
    if rng.random() < AROUND:
        text = rng.choice(around["before"]) + text
    if rng.random() < AROUND:
        text += rng.choice(around["after"])
    if rng.random() < MISTYPED:
        text = _mistyped(text, rng)
    if language == "en" and rng.random() < 0.5:
        text = text[0].upper() + text[1:]
    return re.sub(r" +", " ", text).strip()


def _in_other_words(text: str, group: Sequence[str], language: str, rng: random.Random) -> str:
    """The first of a group of like words that occurs, replaced by another of the group."""
    border = r"\b" if language == "en" else ""
    words = "|".join(re.escape(word) for word in sorted(group, key=len, reverse=True) if word)
    return re.sub(f"{border}(?:{words}){border}(?![^{{]*}})", lambda _: rng.choice(group), text, count=1)


def _mistyped(text: str, rng: random.Random) -> str:
    """Two neighbours swapped, or one character lost."""
    if len(text) < 6:
        return text
    at = rng.randrange(1, len(text) - 2)
    return text[:at] + (text[at + 1] + text[at] if rng.random() < 0.5 else text[at + 1]) + text[at + 2 :]
