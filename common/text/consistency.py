"""A phrase means the same wherever one text has it: marks that agree within a text, and with its abbreviations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from common.text.tags import Mark
from common.text.units import Kind

SHARE = 0.5
"""Of a phrase's places in a text that are marked already: from here on all of them are."""
BRACKETS = re.compile(r"\s?[(（](\w[\w-]{1,9})[)）;,]")


def consistent(text: str, marks: Sequence[Mark], kind: Kind) -> list[Mark]:
    """The marks, those of equal phrases, and of abbreviations that stand explained behind one: "Wilson disease (WD)".

    A phrase of two characters or more is marked wherever it stands as whole units and no other mark touches it. The
    rule of abbreviations is for words alone.
    """
    found = sorted(marks)
    if kind == "words":
        for mark in marks:
            bracket = BRACKETS.match(text, mark.end)
            if bracket and _stands_for(bracket[1], text[mark.start : mark.end]):
                _add(found, Mark(*bracket.span(1), mark.label))
    counts = Counter((text[mark.start : mark.end], mark.label) for mark in found)
    for phrase, label in sorted(counts, key=lambda own: (-len(own[0]), own)):
        if len(phrase) < 2:
            continue
        pattern = rf"(?<!\w){re.escape(phrase)}(?!\w)" if kind == "words" else re.escape(phrase)
        places = [Mark(*place.span(), label) for place in re.finditer(pattern, text)]
        free = [place for place in places if place not in found and not _touches(found, place)]
        if counts[phrase, label] >= SHARE * (counts[phrase, label] + len(free)):
            found += free
    return sorted(found)


def _add(found: list[Mark], mark: Mark) -> None:
    if not _touches(found, mark):
        found.append(mark)


def _touches(found: Sequence[Mark], mark: Mark) -> bool:
    return any(other.start < mark.end and mark.start < other.end for other in found)


def _stands_for(short: str, phrase: str) -> bool:
    """Are its letters in the phrase, in order, the first where a word begins (Schwartz & Hearst, 2003)?

    It must have a capital.
    """
    if not any(letter.isupper() for letter in short):
        return False
    small = phrase.lower()
    for begin in re.finditer(r"\b\w", small):
        rest = iter(small[begin.start() :])
        if small[begin.start()] == short[0].lower() and all(
            letter in rest for letter in short.lower() if letter.isalnum()
        ):
            return True
    return False
