"""Abbreviations and what they may stand for, English and Chinese; one that the note itself defines means that alone.

A definition is "long form (SF)" after Schwartz and Hearst 2003 (Pacific Symposium on Biocomputing 8, 451): every letter
of the short form, from its end, is found in the words before the bracket, the first one at the start of a word.
Otherwise all meanings of `abbreviations.toml` are kept: which one is meant is not guessed.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

_DEFINED = re.compile(r"[(（](?P<short>[A-Za-z][A-Za-z0-9/-]{1,9})[)）]")


@dataclass(frozen=True)
class Abbreviation:
    """A short form at its place with its meanings, likeliest first; `defined` when the note says which one."""

    start: int
    end: int
    text: str
    meanings: tuple[str, ...]
    defined: bool = False


def abbreviations(note: str) -> list[Abbreviation]:
    """Every known or defined short form of a note, in order. English ones count in capitals only."""
    own = definitions(note)
    known = known_abbreviations()
    found = []
    for match in _pattern(tuple(sorted(own))).finditer(note):
        short = match.group()
        meanings = (own[short],) if short in own else known[short]
        found.append(Abbreviation(*match.span(), short, meanings, short in own))
    return found


def definitions(note: str) -> dict[str, str]:
    """The short forms that the note itself defines, each with its long form; the first definition counts."""
    own: dict[str, str] = {}
    for match in _DEFINED.finditer(note):
        short = match["short"]
        most = min(len(short) + 5, 2 * len(short))
        words = re.findall(r"\S+", note[max(0, match.start() - 120) : match.start()])[-most:]
        long = _long_form(short, " ".join(words))
        if long and sum(letter.isupper() for letter in short) >= 2:
            own.setdefault(short, long)
    return own


def _long_form(short: str, before: str) -> str | None:
    """The shortest ending of `before` whose letters hold those of `short` in order."""
    at = len(before)
    letters = [letter for letter in short.lower() if letter.isalnum()]
    for place, letter in reversed(list(enumerate(letters))):
        at = before.lower().rfind(letter, 0, at)
        while place == 0 and at > 0 and before[at - 1].isalnum():
            at = before.lower().rfind(letter, 0, at)
        if at < 0:
            return None
    found = before[at:].strip()
    return found if len(found) > len(short) else None


@lru_cache(maxsize=32)
def _pattern(own: tuple[str, ...]) -> re.Pattern[str]:
    names = sorted({*own, *known_abbreviations()}, key=len, reverse=True)
    english = "|".join(re.escape(name) for name in names if name.isascii())
    chinese = "|".join(re.escape(name) for name in names if not name.isascii())
    return re.compile(rf"(?<![A-Za-z0-9])(?:{english})(?![A-Za-z0-9])|(?:{chinese})")


@cache
def known_abbreviations() -> dict[str, tuple[str, ...]]:
    """The meanings of every short form of `abbreviations.toml`."""
    table = tomllib.loads(files(__package__).joinpath("abbreviations.toml").read_text(encoding="utf-8"))
    return {short: tuple(meanings) for words in table.values() for short, meanings in words.items()}
