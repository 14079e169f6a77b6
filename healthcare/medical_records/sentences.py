"""Sentences of a clinical note, English and Chinese, with their places.

A full stop ends a sentence unless it belongs to a number, an abbreviation, an initial or the number of a list. A line
break ends one before a bullet, a header or a blank line, and wherever the line was not merely wrapped. One pass, and
every look back or ahead is bounded: 5 MB take seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from healthcare.medical_records.spans import Span

_ABBREVIATIONS = re.compile(
    r"a\.c|a\.m|al|approx|apr|aug|avg|b\.i\.d|b\.p|bilat|ca|cap|caps|cf|cm|d\.o|dec|dept|dr|dx|e\.g|eg"
    r"|est|etc|feb|fig|fx|h\.s|hosp|ht|hx|i\.e|i\.m|i\.v|ie|inc|inj|jan|jr|jul|jun|kg|lt|ltd|m\.d|mar"
    r"|max|mcg|mg|min|ml|mm|mr|mrs|ms|no|nos|nov|o\.d|o\.s|o\.u|oct|p\.c|p\.m|p\.o|p\.r|p\.r\.n|ph\.d|prof"
    r"|pt|pts|q\.d|q\.h|q\.h\.s|q\.i\.d|q\.o\.d|r\.n|resp|rt|rx|s\.c|s\.q|sep|sept|sq|sr|st|sx|t\.i\.d|tab"
    r"|tabs|temp|tx|u\.s|vol|vs|wt",
    re.IGNORECASE,
)
_NUMBERED = ("no", "nos")
"""Abbreviations before a number alone; elsewhere they are words: "Fever, no. Cough, yes."."""
LONGEST = 1000
"""Characters of a sentence; a longer one is cut at its last blank or comma before: what has no end is no sentence."""
_WRAPPED = 60
"""Characters of a line from which on its end is taken for a wrap when the next line could go on."""
_END = re.compile(r"[。！？；]+[”』」）)]*|[.!?]+[\"'”)\]]*(?=\s|$)|\n")
_WORD_BEFORE = re.compile(r"[A-Za-z][A-Za-z.]{0,8}$")
_BULLET = re.compile(r"[ \t]*(?:[-*•·●▪◦#]|\d{1,2}[.)、]|[（(]\d{1,2}[)）]|[①-⑳])\s*\S")
_HEADER = re.compile(r"[ \t]*(?:[A-Z][A-Za-z/&' -]{1,40}|[\u4e00-\u9fff]{2,8})[ \t]?[:：]")
_LIST_NUMBER = re.compile(r"(?:^|[\n:]|\s\s)[ \t]*\d{1,2}$")
_OPENS = re.compile(r"\s*[a-z,;)]")


def sentences(text: str) -> list[Span]:
    """The sentences in order, without the blanks around them; together they hold every character that is not blank."""
    return [Span.of(text, start, end) for start, end in _trimmed(text, _cuts(text))]


def _cuts(text: str) -> Iterator[int]:
    line = 0
    for found in _END.finditer(text):
        mark, at = found.group(), found.start()
        if mark == "\n":
            if _breaks(text, line, at):
                yield found.end()
            line = found.end()
        elif mark == "?" and text[max(0, at - 3) : at].rstrip(" \t")[-1:] in ("", *"\n.;:,"):
            continue  # "? pneumonia": a doubt about what follows
        elif mark[0] != "." or not _belongs(text, at, found.end()):
            yield found.end()
    yield len(text)


def _belongs(text: str, at: int, after: int) -> bool:
    """Whether a full stop is part of an abbreviation, an initial, or the number of a list."""
    before = text[max(0, at - 12) : at]
    if _LIST_NUMBER.search(before) or (at <= 2 and before.isdigit()):
        return True
    word = _WORD_BEFORE.search(before)
    if word is None:
        return False
    if len(word.group()) == 1:  # an initial, unless nothing of a name follows
        return word.group().isupper() and text[after : after + 1] == " " and text[after + 1 : after + 2].isupper()
    if word.group().lower() in _NUMBERED:
        return text[after : after + 3].strip()[:1].isdigit()
    small = _OPENS.match(text, after) is not None
    return _ABBREVIATIONS.fullmatch(word.group().rstrip(".")) is not None and (
        small or _title(word.group(), text, after)
    )


def _title(word: str, text: str, after: int) -> bool:
    """Whether the abbreviation is one that a name or a number follows."""
    following = text[after : after + 3].strip()[:1]
    titles = ("dr", "mr", "mrs", "ms", "prof", "st", "vs", "fig", "approx", "e.g", "i.e", "eg", "ie", "pt")
    return bool(following) and (following.isdigit() or word.lower().rstrip(".") in titles)


def _breaks(text: str, line: int, at: int) -> bool:
    """Whether the line break at `at`, of the line that starts at `line`, ends a sentence."""
    ahead = text[at + 1 : at + 61]
    first = ahead.split("\n", 1)[0]
    if not first.strip() or not text[line:at].strip() or _BULLET.match(first) or _HEADER.match(first):
        return True
    last = text[max(line, at - 8) : at].rstrip()[-1:]
    if last in ".!?:。！？：；" or _OPENS.match(first):
        return last in "。！？；"
    return last not in (",", "，", "、") and at - line < _WRAPPED


def _trimmed(text: str, cuts: Iterator[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for end in _bounded(text, cuts):
        piece = text[start:end]
        if kept := piece.strip():
            left = start + len(piece) - len(piece.lstrip())
            yield left, left + len(kept)
        start = end


def _bounded(text: str, cuts: Iterator[int]) -> Iterator[int]:
    """The cuts, and more of them wherever two lie more than `LONGEST` apart."""
    start = 0
    for end in cuts:
        while end - start > LONGEST:
            window = text[start + LONGEST // 2 : start + LONGEST]
            back = max(window.rfind(mark) for mark in " \t,，、")
            start = start + (LONGEST if back < 0 else LONGEST // 2 + back + 1)
            yield start
        yield end
        start = end
