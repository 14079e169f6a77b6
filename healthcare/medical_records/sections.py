"""Sections of a note by their headers, English and Chinese, and what a section says of everything in it.

A header is a known name before a colon, at the start of a line or after the end of a sentence; a known name alone on a
line, perhaps as Markdown or in brackets; or any short line in capitals that ends with a colon, which opens a section of
the kind `other`. The table of names is `sections.toml`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from healthcare.medical_records.spans import Assertion

_LINE = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]*|[【\[]|\d{1,2}[.、)][ \t]*|[一二三四五六七八九十]{1,2}、|\*\*)?"
    r"(?P<name>[A-Za-z][A-Za-z &/-]{0,48}?|[\u4e00-\u9fff]{2,8})[ \t]*(?:\*\*)?[】\]]?[ \t]*(?P<colon>[:：]|[ ]-[ ]|$)",
    re.MULTILINE,
)
_WITHIN = re.compile(
    r"(?:(?<=[.。；;：:，,\"])|(?<=[  \t]))(?P<name>[A-Za-z][A-Za-z &/-]{1,40}|[\u4e00-\u9fff]{2,6})(?P<colon>[:：])"
)


_Header = tuple[int, int, str, str]
"""Where a header starts, where its section's text starts, its title and its kind."""


@dataclass(frozen=True)
class Section:
    """Characters `start` to `end` of a note; the header, if there is one, ends at `body`."""

    kind: str
    title: str
    start: int
    body: int
    end: int


def sections(note: str) -> list[Section]:
    """The sections in order; they touch and cover the whole note. What stands before the first header is `other`."""
    found: list[_Header] = []
    for header in sorted(_headers(note)):
        if not found or header[0] >= found[-1][1]:
            found.append(header)
    starts = [(0, 0, "", "other"), *found] if not found or found[0][0] > 0 else found
    ends = [start for start, *_ in starts[1:]] + [len(note)]
    return [
        Section(kind, title, start, body, end) for (start, body, title, kind), end in zip(starts, ends, strict=True)
    ]


def in_section(kind: str, assertion: Assertion) -> Assertion:
    """The assertion in the light of its section: past history is historical, family history of a relative."""
    if kind == "past_history" and assertion.temporality == "recent":
        assertion = replace(assertion, temporality="historical")
    if kind == "family_history" and assertion.experiencer == "patient":
        assertion = replace(assertion, experiencer="family")
    return assertion


def section_at(parts: Sequence[Section], place: int) -> Section:
    """The section that holds a character."""
    low, high = 0, len(parts) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if parts[middle].start <= place else (low, middle - 1)
    return parts[low]


def _headers(note: str) -> Iterator[_Header]:
    known = _known()
    for match in _LINE.finditer(note):
        name = match["name"].strip()
        kind = known.get(name.lower())
        if kind is None and match["colon"] in (":", "：") and name.isupper() and name.isascii() and len(name) > 2:
            kind = "other"
        if kind and (match["colon"] or len(name) > 2 or not name.isascii()):
            yield match.start(), match.end(), name, kind
    for match in _WITHIN.finditer(note):
        name = match["name"].strip()
        # The words before the name stand in the same run: the longest known ending is the header.
        words = name.split(" ")
        for i in range(len(words) if name.isascii() else 1):
            title = " ".join(words[i:])
            if title.lower() in known and (not title.isascii() or title[0].isupper()):
                yield match.end("name") - len(title), match.end(), title, known[title.lower()]
                break


@cache
def _known() -> dict[str, str]:
    table = tomllib.loads(files(__package__).joinpath("sections.toml").read_text(encoding="utf-8"))
    return {name: kind for kind, names in table.items() for name in names["en"] + names["zh"]}
