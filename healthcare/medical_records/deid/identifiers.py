"""What identifies a person: the kinds, which of the 18 HIPAA identifiers each is, and spans that overlap made one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal[
    "name",
    "location",
    "date",
    "age",
    "phone",
    "fax",
    "email",
    "national_id",
    "mrn",
    "plan",
    "account",
    "license",
    "vehicle",
    "device",
    "url",
    "ip",
    "biometric",
    "photo",
    "other",
    "organization",
    "title",
    "group",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
HIPAA: dict[Kind, tuple[str, str]] = {
    "name": ("A", "names"),
    "location": ("B", "geographic subdivisions smaller than a state"),
    "date": ("C", "elements of dates, except the year"),
    "age": ("C", "ages over 89"),
    "phone": ("D", "telephone numbers"),
    "fax": ("E", "fax numbers"),
    "email": ("F", "e-mail addresses"),
    "national_id": ("G", "social security numbers, and the Chinese resident identity number"),
    "mrn": ("H", "medical record numbers"),
    "plan": ("I", "health plan beneficiary numbers"),
    "account": ("J", "account numbers, payment cards among them"),
    "license": ("K", "certificate and license numbers, passports among them"),
    "vehicle": ("L", "vehicle identifiers and license plates"),
    "device": ("M", "device identifiers and serial numbers"),
    "url": ("N", "web addresses"),
    "ip": ("O", "IP addresses"),
    "biometric": ("P", "biometric identifiers: here the numbers of templates"),
    "photo": ("Q", "full-face photographs: here the names of picture files"),
    "other": ("R", "any other unique identifying number, characteristic or code"),
}
"""Paragraph of 45 CFR 164.514(b)(2)(i) and what it names. Not among the 18: `organization` (employers, hospitals, which
the rule lists for relatives and employers of the patient), `title` (honorifics, professions) and `group` (nationality,
religion)."""


@dataclass(frozen=True)
class Identifier:
    """Characters `start` to `end` (exclusive) of a text that identify somebody; `text` is what stands there."""

    kind: Kind
    start: int
    end: int
    text: str

    @classmethod
    def of(cls, kind: Kind, text: str, start: int, end: int) -> Identifier:
        """The identifier at these characters."""
        return cls(kind, start, end, text[start:end])


def resolve(text: str, found: Iterable[tuple[Kind, int, int]]) -> list[Identifier]:
    """Spans in the order of their trust made disjoint, in the order of the text.

    Where spans overlap the first wins whole, and of the others the ends that it leaves stay as spans of their own: what
    one rule has found is never uncovered by another. Where both are of one kind they become one. Pieces without a
    letter or digit are dropped; locations with nothing but a few blanks and commas between them become one.
    """
    owner: dict[int, int] = {}
    spans = list(found)
    for number, (_, start, end) in enumerate(spans):
        for place in range(start, end):
            owner.setdefault(place, number)
    pieces: list[tuple[Kind, int, int]] = []
    last = None
    for place in sorted(owner):
        if pieces and pieces[-1][2] == place and (owner[place] == last or pieces[-1][0] == spans[owner[place]][0]):
            pieces[-1] = (*pieces[-1][:2], place + 1)
        else:
            pieces.append((spans[owner[place]][0], place, place + 1))
        last = owner[place]
    joined: list[tuple[Kind, int, int]] = []
    for kind, start, end in pieces:
        start, end = _trimmed(text, start, end)
        if start >= end:
            continue
        if joined and kind == joined[-1][0] == "location" and BETWEEN.fullmatch(text, joined[-1][2], start):
            joined[-1] = (kind, joined[-1][1], end)
        else:
            joined.append((kind, start, end))
    return [Identifier.of(kind, text, start, end) for kind, start, end in joined]


AROUND = '>,;:!?"，。；：、！？|*'
BETWEEN = re.compile(r"[\s,，>]{0,6}")


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Without blanks and signs around; empty when nothing is left that a reader could tell somebody by."""
    while start < end and (text[start].isspace() or text[start] in AROUND):
        start += 1
    while end > start and (text[end - 1].isspace() or text[end - 1] in AROUND):
        end -= 1
    return (start, end) if any(c.isalnum() for c in text[start:end]) else (start, start)
