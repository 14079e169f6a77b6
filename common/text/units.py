"""What gets a tag: the words or the characters of a text, and windows of them that end where sentences do."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

Kind = Literal["words", "characters"]
WORDS = re.compile(r"\w+|[^\w\s]")
CHARACTERS = re.compile(r"\S")
ENDS = frozenset("。！？；!?;\n")
"""Behind these a sentence ends, wherever they are; behind a full stop only before a space."""


def units(text: str, kind: Kind) -> list[tuple[int, int]]:
    """First and last (exclusive) character of every unit; spaces belong to none. Marks of punctuation are words."""
    return [match.span() for match in (WORDS if kind == "words" else CHARACTERS).finditer(text)]


def plain(text: str) -> str:
    """Small letters, and narrow forms for wide ones, character by character: the length stays."""
    return "".join(map(_plain, text))


def windows(text: str, spans: Sequence[tuple[int, int]], longest: int) -> list[slice]:
    """Slices of units, of at most `longest` each, that together are all: cut behind the last sentence that fits."""
    found: list[slice] = []
    start = 0
    while len(spans) - start > longest:
        ends = (at for at in range(start + longest, start + longest // 2, -1) if _ends(text, spans[at - 1][1]))
        stop = next(ends, start + longest)
        found.append(slice(start, stop))
        start = stop
    return [*found, slice(start, len(spans))] if len(spans) > start else found


def _ends(text: str, at: int) -> bool:
    """Does a sentence end before character `at`?"""
    return text[at - 1] in ENDS or text[at : at + 1] == "\n" or (text[at - 1] == "." and text[at : at + 1].isspace())


def _plain(character: str) -> str:
    if character.isascii():
        return character.lower()
    narrow = unicodedata.normalize("NFKC", character).lower()
    return narrow if len(narrow) == 1 else character
