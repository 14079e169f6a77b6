"""An extractive summary: what a note says, in lines that each point at the characters they come from.

Nothing is worded anew: a line is the words of the note, and its evidence the places where they stand. The same concept
in one group is one line with several places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from healthcare.medical_records.notes import Note
from healthcare.medical_records.spans import Code, Entity, Span

Group = Literal["problems", "uncertain", "history", "denied", "family", "drugs", "stopped", "procedures", "results"]
GROUPS: tuple[Group, ...] = (
    "problems",
    "uncertain",
    "history",
    "denied",
    "family",
    "drugs",
    "stopped",
    "procedures",
    "results",
)


@dataclass(frozen=True)
class Line:
    """One line of a group: the note's own words, every place they come from, and codes where known."""

    group: Group
    text: str
    evidence: tuple[Span, ...]
    codes: tuple[Code, ...] = ()


def summarise(note: Note) -> list[Line]:
    """The lines of a note, group by group in the order of `GROUPS`, within a group in the order of the note.

    What is only feared ("return if fever develops") and findings of others than the family are in no group.
    """
    lines = [*_merged(_concepts(note)), *_merged(_drugs(note)), *_merged(_results(note))]
    return sorted(lines, key=lambda line: GROUPS.index(line.group))


def _concepts(note: Note) -> Iterator[Line]:
    for entity in note.entities:
        if entity.kind in ("disease", "symptom", "procedure") and (group := _group(entity)):
            yield Line(group, entity.text, (entity.span,), entity.codes)


def _group(entity: Entity) -> Group | None:
    said = entity.assertion
    if said is None or said.temporality == "hypothetical" or said.experiencer == "other":
        return None
    if said.experiencer == "family":
        return None if said.negated else "family"
    if said.negated:
        return "denied" if entity.kind != "procedure" else None
    if said.uncertain:
        return "uncertain"
    if entity.kind == "procedure":
        return "procedures"
    return "history" if said.temporality == "historical" else "problems"


def _drugs(note: Note) -> Iterator[Line]:
    said = {entity.start: entity for entity in note.entities if entity.kind == "drug"}
    for one in note.medications:
        entity = said[one.drug.start]
        if entity.assertion and (entity.assertion.negated or entity.assertion.temporality == "hypothetical"):
            continue
        yield Line("stopped" if one.stopped else "drugs", one.text, (Span(one.start, one.end, one.text),), entity.codes)


def _results(note: Note) -> Iterator[Line]:
    places: set[int] = set()
    for value in note.results:
        if value.start not in places:  # a blood pressure is two values of one place
            yield Line("results", value.text, (Span(value.start, value.end, value.text),), value.codes)
        places.add(value.start)


def _merged(lines: Iterable[Line]) -> list[Line]:
    first: dict[tuple[str, str], Line] = {}
    places: dict[tuple[str, str], list[Span]] = {}
    for line in lines:
        key = (line.group, " ".join(line.text.lower().split()))
        known = first.setdefault(key, line)
        first[key] = known if known.codes else replace(known, codes=line.codes)
        places.setdefault(key, []).extend(line.evidence)
    return [replace(line, evidence=tuple(places[key])) for key, line in first.items()]
