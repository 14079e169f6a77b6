"""A note as FHIR R4: what it says becomes resources, each with the characters of the note that it comes from.

| what the note says | resource | as |
| --- | --- | --- |
| disease, symptom of the patient | Condition | `verificationStatus`: refuted if denied, unconfirmed if in doubt |
| the same of the family | FamilyMemberHistory | none if denied: R4 has no way to say so |
| drug | MedicationStatement | dose, route and timing as written; not-taken if denied |
| drug called an allergy | AllergyIntolerance | unconfirmed; refuted if denied |
| test, result | Observation | preliminary; unit and range only where written |
| procedure | Procedure | completed if it is history, not-done if denied, else unknown |

Nothing is guessed, and nothing lost silently: what becomes no resource is in `left_out` with the reason. Every resource
carries the extension `EVIDENCE` (start, end, text, source), and one Provenance names the note and the program.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from common.errors import InvalidRequest
from healthcare.medical_records.fhir.build import FAMILY, concept, dosage, observed, plain, reference, status
from healthcare.medical_records.fhir.primitives import fault
from healthcare.medical_records.fhir.problem import shown
from healthcare.medical_records.labs import LabValue
from healthcare.medical_records.medication import Medication
from healthcare.medical_records.notes import Note
from healthcare.medical_records.spans import Assertion, Entity, Span

Json = dict[str, Any]
EVIDENCE = "urn:espalier:medical-records:evidence"
"""The extension that says where in the note a resource comes from; characters, counted from 0, end exclusive."""
REACH = 80
"""Characters before and after a drug that may call it an allergy."""
_ALLERGIC = re.compile(
    r"\b(?:allergic|allergy|allergies|anaphylaxis) to (?:[\w-]+(?:,? and |,? or |, ?|/))*$", re.IGNORECASE
)
_ALLERGY = re.compile(r" allerg(?:y|ies)\b|(?:[、及和与][\u4e00-\u9fff]{1,8}){0,4}过敏", re.IGNORECASE)
_NAMES = UUID("6f7c1d3a-5a0e-5d0c-9a58-0d3c2f6f1b7e")
"""The name space of our ids: the same note of the same patient gives the same ids."""


@dataclass(frozen=True)
class LeftOut:
    """Something that the note names and that became no resource."""

    span: Span
    reason: str


@dataclass(frozen=True)
class Written:
    """A Bundle of type collection, and what is not in it."""

    bundle: Json
    left_out: tuple[LeftOut, ...]


def write(note: Note, patient: str, recorded: str, document: str = "", author: str = "Espalier") -> Written:
    """The Bundle of a note about `patient`, a reference such as `Patient/1`, written at the instant `recorded`.

    `document` is a reference to the note where it is already kept; without one the note itself goes along as a
    DocumentReference. `author` is the program that Provenance names. The result is for a person to confirm.

    Raises `InvalidRequest` if a reference leads to another type, or `recorded` is no FHIR instant.
    """
    for name, link, kind in (("patient", patient, "Patient"), ("document", document, "DocumentReference")):
        if (link or kind == "Patient") and not re.fullmatch(rf"urn:\S+|(\S+/)?{kind}/[A-Za-z0-9\-.]{{1,64}}", link):
            expected = f"{kind}/id, its absolute URL or urn:uuid:..."
            raise InvalidRequest(f"not a reference to a {kind}", where=name, got=shown(link), expected=expected)
    if expected := fault("instant", recorded):
        raise InvalidRequest("not an instant", where="recorded", got=shown(recorded), expected=expected)
    return _Writer(note, patient, recorded, document, author).written()


class _Writer:
    """One note on its way; `entries` fill up in the order of the note."""

    def __init__(self, note: Note, patient: str, recorded: str, document: str, author: str) -> None:
        self.note, self.patient, self.recorded, self.author = note, patient, recorded, author
        self.digest = hashlib.sha256(note.text.encode()).hexdigest()
        self.allergies = [(part.start, part.end) for part in note.sections if part.kind == "allergies"]
        self.entries: list[Json] = []
        self.left_out: list[LeftOut] = []
        self.document = document or self._add(self._document(), "DocumentReference")

    def written(self) -> Written:
        """Every entity, then every result, then Provenance."""
        sigs = {(sig.drug.start, sig.drug.end): sig for sig in self.note.medications}
        results = [(result.start, result.end) for result in self.note.results]
        first = len(self.entries)
        for entity in self.note.entities:
            if entity.kind == "test" and _inside(entity.start, results):
                continue  # the result says it with its value
            resource = self._of_entity(entity, sigs.get((entity.start, entity.end)))
            if isinstance(resource, str):
                self.left_out.append(LeftOut(entity.span, resource))
            else:
                self._add(resource, f"{entity.kind} {entity.start} {entity.end}")
        for number, result in enumerate(self.note.results):
            self._add(self._of_result(result), f"result {number}")
        targets = [reference(entry["fullUrl"]) for entry in self.entries[first:]]
        if targets:
            self._add(self._provenance(targets), "Provenance")
        bundle = {"resourceType": "Bundle", "type": "collection", "timestamp": self.recorded}
        return Written(bundle | ({"entry": self.entries} if self.entries else {}), tuple(self.left_out))

    def _add(self, resource: Json, name: str) -> str:
        url = f"urn:uuid:{uuid5(_NAMES, f'{self.patient} {self.digest} {name}')}"
        self.entries.append({"fullUrl": url, "resource": resource})
        return url

    def _of_entity(self, entity: Entity, sig: Medication | None) -> Json | str:
        """The resource of an entity, or the reason why there is none."""
        said = entity.assertion
        if said is None:
            return "nobody has looked whether it is denied"
        if entity.kind == "anatomy":
            return "a place of the body is no finding"
        if said.temporality == "hypothetical":
            return "it may happen, the note does not say that it has"
        if said.experiencer == "other":
            return "it is of somebody else"
        if said.experiencer == "family":
            return self._of_family(entity, said)
        if entity.kind == "drug":
            return self._allergy(entity, said) if self._is_allergy(entity) else self._medication(entity, said, sig)
        if entity.kind == "test":
            return self._test(entity, said)
        return self._procedure(entity, said) if entity.kind == "procedure" else self._condition(entity, said)

    def _condition(self, entity: Entity, said: Assertion) -> Json:
        sure = "refuted" if said.negated else "unconfirmed" if said.uncertain else "confirmed"
        now = {} if said.negated or said.uncertain or said.temporality != "recent" else {"clinicalStatus": "active"}
        return {
            **self._head("Condition", entity.span, said),
            **{name: status("condition-clinical", code) for name, code in now.items()},
            "verificationStatus": status("condition-ver-status", sure),
            "code": concept(entity.text, entity.codes),
            "subject": reference(self.patient),
            "recordedDate": self.recorded,
            "evidence": [{"detail": [reference(self.document)]}],
        }

    def _of_family(self, entity: Entity, said: Assertion) -> Json | str:
        if entity.kind not in ("disease", "symptom"):
            return "it is of the family and no disease"
        if said.negated:
            return "FHIR R4 cannot deny a disease of the family"
        return {
            **self._head("FamilyMemberHistory", entity.span, said),
            "status": "partial",
            "patient": reference(self.patient),
            "relationship": FAMILY,
            "condition": [{"code": concept(entity.text, entity.codes)}],
        }

    def _medication(self, entity: Entity, said: Assertion, sig: Medication | None) -> Json:
        state = "not-taken" if said.negated else "stopped" if sig and sig.stopped else "active"
        if said.uncertain or (state == "active" and said.temporality == "historical"):
            state = "unknown"
        span = Span(sig.start, sig.end, sig.text) if sig else entity.span
        return {
            **self._head("MedicationStatement", span, said),
            "status": state,
            "medicationCodeableConcept": concept(entity.text, entity.codes),
            "subject": reference(self.patient),
            "dateAsserted": self.recorded,
            "derivedFrom": [reference(self.document)],
            **({"dosage": [dosage(sig)]} if sig and sig.text != sig.drug.text else {}),
        }

    def _allergy(self, entity: Entity, said: Assertion) -> Json:
        return {
            **self._head("AllergyIntolerance", entity.span, said),
            "clinicalStatus": status("allergyintolerance-clinical", "inactive" if said.negated else "active"),
            "verificationStatus": status(
                "allergyintolerance-verification", "refuted" if said.negated else "unconfirmed"
            ),
            "code": concept(entity.text, entity.codes),
            "patient": reference(self.patient),
            "recordedDate": self.recorded,
        }

    def _test(self, entity: Entity, said: Assertion) -> Json:
        why = "not-performed" if said.negated else "unknown"
        return {
            **self._head("Observation", entity.span, said),
            "status": "cancelled" if said.negated else "unknown",
            "code": concept(entity.text, entity.codes),
            "subject": reference(self.patient),
            "dataAbsentReason": status("data-absent-reason", why),
            "derivedFrom": [reference(self.document)],
        }

    def _procedure(self, entity: Entity, said: Assertion) -> Json:
        done = said.temporality == "historical" and not said.uncertain
        return {
            **self._head("Procedure", entity.span, said),
            "status": "not-done" if said.negated else "completed" if done else "unknown",
            "code": concept(entity.text, entity.codes),
            "subject": reference(self.patient),
        }

    def _of_result(self, result: LabValue) -> Json:
        return {
            **self._head("Observation", Span(result.start, result.end, result.text), None),
            "status": "preliminary",
            "code": concept(result.test.replace("_", " "), result.codes),
            "subject": reference(self.patient),
            **observed(result),
            "derivedFrom": [reference(self.document)],
        }

    def _head(self, kind: str, span: Span, said: Assertion | None) -> Json:
        parts: list[Json] = [
            {"url": "start", "valueUnsignedInt": span.start},
            {"url": "end", "valueUnsignedInt": span.end},
            {"url": "text", "valueString": plain(span.text)},
            {"url": "source", "valueReference": reference(self.document)},
        ]
        if said:
            parts.append({"url": "temporality", "valueCode": said.temporality})
        return {"resourceType": kind, "extension": [{"url": EVIDENCE, "extension": parts}]}

    def _is_allergy(self, entity: Entity) -> bool:
        """A drug under that header, or named so: "allergic to aspirin and penicillin", "青霉素过敏"."""
        text, start, end = self.note.text, entity.start, entity.end
        if _inside(start, self.allergies):
            return True
        before, after = text[max(0, start - REACH) : start], text[end : end + REACH]
        return bool(_ALLERGIC.search(before) or _ALLERGY.match(after))

    def _document(self) -> Json:
        data = self.note.text.encode()
        attachment = {
            "contentType": "text/plain; charset=utf-8",
            "language": self.note.language,
            "data": b64encode(data).decode(),
            "size": len(data),
        }
        return {
            "resourceType": "DocumentReference",
            "status": "current",
            "subject": reference(self.patient),
            "date": self.recorded,
            "content": [{"attachment": attachment}],
        }

    def _provenance(self, targets: list[Json]) -> Json:
        return {
            "resourceType": "Provenance",
            "target": targets,
            "recorded": self.recorded,
            "agent": [{"who": {"type": "Device", "display": self.author}}],
            "entity": [{"role": "source", "what": reference(self.document)}],
        }


def _inside(place: int, spans: list[tuple[int, int]]) -> bool:
    """Whether a place lies in one of the spans, which are in order."""
    at = bisect_right(spans, place, key=lambda span: span[0]) - 1
    return at >= 0 and place < spans[at][1]


def evidence(resource: Json) -> Iterator[Span]:
    """The characters of the note that a resource written here comes from."""
    for extension in resource.get("extension", ()):
        if extension.get("url") == EVIDENCE:
            told = {part["url"]: next(v for k, v in part.items() if k != "url") for part in extension["extension"]}
            yield Span(told["start"], told["end"], told["text"])
