"""Notes that FHIR records keep, read one by one and laid beside the Conditions of the same patient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from common.errors import RequestError
from healthcare.medical_records.answer import Answer, Named, named
from healthcare.medical_records.deid.identifiers import Kind
from healthcare.medical_records.fhir.consistency import Agreement, KeptNote, compare, kept_notes, totals
from healthcare.medical_records.fhir.problem import Problem, outcome
from healthcare.medical_records.fhir.read import Records
from healthcare.medical_records.fhir.rules import listed
from healthcare.medical_records.serve import Identifiers, Known, MedicalRecordsPredictor, Read, Request
from healthcare.medical_records.spans import Entity

Json = dict[str, Any]
MOST_KNOWN, MOST_ISSUES = 50, 1_000
_TELECOM: dict[Any, Kind] = {"phone": "phone", "fax": "fax", "email": "email", "url": "url"}


class Pair(BaseModel):
    """What a note says and the Condition, by its `Type/id`, that says the same or the opposite."""

    entity: Named
    condition: str


class OneNote(BaseModel):
    """A note beside the Conditions that hold on its day; `answer` is null for one that could not be read."""

    document: str = Field(description="Type/id of the DocumentReference, or its place")
    patient: str = Field(description="reference to the patient, as it stands")
    answer: Answer | None
    agreed: list[Pair] = Field(description="said, and recorded so")
    contradicted: list[Pair] = Field(description="denied and recorded, or affirmed and recorded as refuted")
    unrecorded: list[Named] = Field(description="diseases that the note affirms and no Condition has")
    unsaid: list[str] = Field(description="Conditions that hold on the day and are not in the note; need be no fault")


class Compared(BaseModel):
    """All notes of a document; nothing of it is left out silently, see `outcome`."""

    notes: list[OneNote]
    totals: dict[Literal["notes", "agreed", "contradicted", "unrecorded", "unsaid"], int]
    outcome: dict[str, Any] = Field(description="OperationOutcome: what is wrong with the records, and unread notes")


class Notes:
    """Reads the notes of records; `requests` and `answers` are of those that were read, in their order."""

    def __init__(self, predictor: MedicalRecordsPredictor, records: Records, identifiers: Identifiers) -> None:
        self._predictor, self._records, self._identifiers = predictor, records, identifiers
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        self._problems: list[Problem] = []

    def compared(self) -> Compared:
        """Every note read and compared. Raises what `predict` raises where it is about the service, not a note."""
        kept, unread = kept_notes(self._records)
        order = iter(kept)
        found: list[OneNote] = []
        agreements: list[Agreement] = []
        answers: list[Answer | None] = []

        def find(text: str) -> Sequence[Entity]:
            read = self._read(next(order))
            answers.append(self._predictor.answer(read) if read else None)
            return read.note.entities if read else ()

        for agreement in compare(self._records, find):
            answer = answers[-1]
            if answer is None:
                found.append(_one(agreement.note, None))
                continue
            agreements.append(agreement)
            self.answers.append(answer)
            found.append(_one(agreement.note, answer, agreement))
        problems = [*self._records.problems, *unread, *self._problems]
        return Compared(notes=found, totals=totals(agreements), outcome=told(problems, f"{len(kept)} notes were found"))

    def _read(self, note: KeptNote) -> Read | None:
        request = Request(
            text=note.text,
            identifiers=self._identifiers,
            patient=note.patient[:200],
            known=known_of(self._records, note.patient),
        )
        try:
            read = self._predictor.read(request)
        except RequestError as error:
            if error.status >= 500:
                raise
            problem = Problem(note.name, error.what, str(error.got or ""), str(error.expected or ""))
            self._problems.append(problem)
            return None
        self.requests.append(request)
        return read


def told(problems: Iterable[Problem], read: str) -> Json:
    """An OperationOutcome of the first `MOST_ISSUES` problems, how many more there are, and what was read."""
    every = list(problems)
    more = [f"{len(every) - MOST_ISSUES} more problems are not listed."] if len(every) > MOST_ISSUES else []
    found = outcome(every[:MOST_ISSUES])
    issue = {"severity": "information", "code": "informational"}
    found["issue"] += [{**issue, "diagnostics": text} for text in (*more, f"{read}.")]
    return found


def known_of(records: Records, patient: str) -> list[Known]:
    """What the Patient resource at hand says of who the patient is."""
    found = records.graph.find(patient) if patient else None
    pairs = dict.fromkeys(_known(found)) if found and found.get("resourceType") == "Patient" else {}
    return [Known(kind=kind, value=value) for kind, value in pairs if 2 <= len(value) <= 200][:MOST_KNOWN]


def _known(patient: Json) -> Iterator[tuple[Kind, str]]:
    parts: tuple[tuple[str, Callable[[Json], Kind], tuple[str, ...]], ...] = (
        ("name", lambda _: "name", ("text", "family", "given")),
        ("identifier", lambda _: "mrn", ("value",)),
        ("telecom", lambda one: _TELECOM.get(one.get("system"), "phone"), ("value",)),
        ("address", lambda _: "location", ("text", "line", "city", "postalCode")),
    )
    for field, kind, names in parts:
        for one in listed(patient.get(field)):
            for name in names if isinstance(one, dict) else ():
                value = one.get(name)
                yield from ((kind(one), each) for each in (listed(value) or [value]) if isinstance(each, str))
    if isinstance(born := patient.get("birthDate"), str):
        yield "date", born


def _one(note: KeptNote, answer: Answer | None, found: Agreement | None = None) -> OneNote:
    def pairs(some: Iterable[tuple[Entity, str]]) -> list[Pair]:
        return [Pair(entity=named([entity])[0], condition=key) for entity, key in some]

    return OneNote(
        document=note.name,
        patient=note.patient,
        answer=answer,
        agreed=pairs(found.agreed if found else ()),
        contradicted=pairs(found.contradicted if found else ()),
        unrecorded=named(found.unrecorded if found else ()),
        unsaid=list(found.unsaid) if found else [],
    )
