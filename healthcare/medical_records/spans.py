"""The words that every part of the system shares: spans of a note, entities, what is asserted of them, and codes.

Offsets count characters of the note as it came, so that `note[start:end] == text` holds for everything that is said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Language = Literal["en", "zh"]
Kind = Literal["disease", "drug", "test", "symptom", "anatomy", "procedure"]
Temporality = Literal["recent", "historical", "hypothetical"]
Experiencer = Literal["patient", "family", "other"]

ICD10 = "http://hl7.org/fhir/sid/icd-10"
LOINC = "http://loinc.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ATC = "http://www.whocc.no/atc"
SNOMED = "http://snomed.info/sct"
MESH = "http://id.nlm.nih.gov/mesh"
OMIM = "http://www.omim.org"
UCUM = "http://unitsofmeasure.org"


@dataclass(frozen=True)
class Span:
    """Characters `start` to `end` (exclusive) of a note; `text` is what stands there."""

    start: int
    end: int
    text: str

    @classmethod
    def of(cls, note: str, start: int, end: int) -> Span:
        """The span of these characters."""
        return cls(start, end, note[start:end])


@dataclass(frozen=True)
class Code:
    """One code of a terminology; `system` is its FHIR URI."""

    system: str
    code: str
    display: str


@dataclass(frozen=True)
class Assertion:
    """What the note says of a concept: denied, in doubt, when, and of whom."""

    negated: bool = False
    uncertain: bool = False
    temporality: Temporality = "recent"
    experiencer: Experiencer = "patient"


@dataclass(frozen=True)
class Entity:
    """A concept that a note names; `assertion` is None as long as nobody has looked."""

    kind: Kind
    start: int
    end: int
    text: str
    assertion: Assertion | None = None
    codes: tuple[Code, ...] = ()

    @property
    def span(self) -> Span:
        """Where it stands."""
        return Span(self.start, self.end, self.text)

    def asserted(self, assertion: Assertion) -> Entity:
        """The same entity with its assertion."""
        return replace(self, assertion=assertion)
