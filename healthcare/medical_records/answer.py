"""What is answered about a note: every part with its characters in the answer's own text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from healthcare.medical_records.abbreviations import Abbreviation
from healthcare.medical_records.deid.deidentify import Replaced
from healthcare.medical_records.deid.identifiers import Kind as IdentifierKind
from healthcare.medical_records.labs import LabValue
from healthcare.medical_records.medication import Medication
from healthcare.medical_records.notes import Note
from healthcare.medical_records.sections import Section
from healthcare.medical_records.spans import Assertion, Code, Entity, Experiencer, Kind, Language, Temporality
from healthcare.medical_records.summary import Line, summarise

HIDDEN = frozenset({"text", "title", "written", "unit", "meanings", "got"})
"""Fields, at any depth, that hold words of a note: of these the audit log keeps hashes alone."""


class Named(BaseModel):
    """A concept that the note names, and what it says of it."""

    kind: Kind
    start: int
    end: int
    text: str
    negated: bool
    uncertain: bool
    temporality: Temporality
    experiencer: Experiencer
    codes: list[Code] = Field(description="from openly licensed tables; empty where none has these words")


class Masked(BaseModel):
    """Where something that identifies somebody was: the characters of its stand-in, and its kind."""

    kind: IdentifierKind
    start: int
    end: int


class Answer(BaseModel):
    """A note, read. Offsets count characters of `text`; ends are exclusive."""

    model_config = ConfigDict(protected_namespaces=())

    text: str = Field(description="the note as it was read; with [NAME] and the like, or surrogates, unless kept")
    language: Language
    sections: list[Section]
    entities: list[Named] = Field(description="in order, none within another")
    results: list[LabValue] = Field(description="laboratory values and vital signs; nothing that is not written")
    medications: list[Medication]
    abbreviations: list[Abbreviation]
    summary: list[Line] = Field(description="the note's own words by group, each with every place they come from")
    identifiers: list[Masked] = Field(description="what was replaced; empty for `keep`, which looks for none")
    density: float = Field(description="concepts in 100 characters of the note")
    decision: Literal["support"] = Field("support", description="for a person to confirm; no medical device")
    model: str = Field(description="version of the bundle")
    simulated: bool = Field(description="true: the bundle learnt from simulated notes")


def answer_of(note: Note, replaced: Sequence[Replaced], model: str, simulated: bool) -> Answer:
    """The answer for a note that has been read, and what was replaced in it before."""
    return Answer(
        text=note.text,
        language=note.language,
        sections=list(note.sections),
        entities=named(note.entities),
        results=list(note.results),
        medications=list(note.medications),
        abbreviations=list(note.abbreviations),
        summary=summarise(note),
        identifiers=masked(replaced),
        density=note.density,
        model=model,
        simulated=simulated,
    )


def named(entities: Iterable[Entity]) -> list[Named]:
    """Entities as they are answered."""
    return [
        Named(
            kind=entity.kind,
            start=entity.start,
            end=entity.end,
            text=entity.text,
            negated=said.negated,
            uncertain=said.uncertain,
            temporality=said.temporality,
            experiencer=said.experiencer,
            codes=list(entity.codes),
        )
        for entity in entities
        for said in [entity.assertion or Assertion()]
    ]


def masked(replaced: Iterable[Replaced]) -> list[Masked]:
    """Where the stand-ins are, without what they stand for."""
    return [Masked(kind=one.kind, start=one.new_start, end=one.new_end) for one in replaced]
