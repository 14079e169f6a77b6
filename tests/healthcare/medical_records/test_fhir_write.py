from __future__ import annotations

import base64
import json
from decimal import Decimal

import pytest

from common.errors import InvalidRequest
from healthcare.medical_records.dictionary import Dictionary, Term
from healthcare.medical_records.fhir.consistency import compare, kept_notes, totals
from healthcare.medical_records.fhir.lossless import dump, parse
from healthcare.medical_records.fhir.read import read, read_ndjson
from healthcare.medical_records.fhir.write import EVIDENCE, evidence, write
from healthcare.medical_records.notes import read_note
from healthcare.medical_records.spans import ATC, ICD10, LOINC, SNOMED, UCUM, Code

NOW = "2026-11-29T08:00:00Z"
TERMS = Dictionary(
    [
        Term("diabetes", "disease", (Code(ICD10, "E11", "Type 2 diabetes mellitus"),)),
        Term("pneumonia", "disease", (Code(SNOMED, "233604007", "Pneumonia"),)),
        Term("breast cancer", "disease"),
        Term("heart failure", "disease"),
        Term("高血压", "disease"),
        Term("fever", "symptom"),
        Term("chest pain", "symptom"),
        Term("metformin", "drug", (Code(ATC, "A10BA02", "metformin"),)),
        Term("penicillin", "drug"),
        Term("warfarin", "drug"),
        Term("阿司匹林", "drug"),
        Term("CT scan", "test"),
        Term("appendectomy", "procedure"),
        Term("liver", "anatomy"),
    ]
)
ENGLISH = """Allergies: penicillin
HPI: Mother had breast cancer. Patient has diabetes, denies fever, no pneumonia. Possible heart failure.
Return if chest pain occurs. The liver is soft. No CT scan was done. Appendectomy last year.
Medications: metformin 500 mg PO BID x 10 days; warfarin 5 mg daily
Labs: Hb 7.80 g/dL (L), glucose 11 (4.0-6.1), troponin negative
"""
CHINESE = "主诉：发热3天。既往史：否认高血压。阿司匹林 100mg 口服 每日一次。血糖 11.2 mmol/L"


def written(text: str, **more):
    return write(read_note(text, TERMS), "Patient/1", NOW, **more)


def by_text(result) -> dict[str, dict]:
    """The resources by the words of the note that they come from."""
    found = [entry["resource"] for entry in result.bundle["entry"]]
    return {span.text: resource for resource in found for span in evidence(resource)}


def state(resource: dict, name: str) -> str:
    return resource[name]["coding"][0]["code"]


@pytest.mark.parametrize("text", [ENGLISH, CHINESE, "Temperature normal and the patient is well, no complaints."])
def test_the_bundle_is_sound_by_our_validator_and_by_the_library(text):
    result = written(text)
    assert [each for each in read(dump(result.bundle)).problems if each.severity == "error"] == []
    library = pytest.importorskip("fhir.resources.R4B.bundle")
    again = library.Bundle.model_validate_json(dump(result.bundle))
    assert len(again.entry) == len(result.bundle["entry"])


def test_every_resource_points_at_the_characters_it_comes_from():
    for text in (ENGLISH, CHINESE):
        result = written(text)
        kept = result.bundle["entry"][0]["resource"]
        assert base64.b64decode(kept["content"][0]["attachment"]["data"]).decode() == text
        source = result.bundle["entry"][0]["fullUrl"]
        for entry in result.bundle["entry"][1:-1]:
            (span,) = evidence(entry["resource"])
            assert text[span.start : span.end] == span.text
            (extension,) = [each for each in entry["resource"]["extension"] if each["url"] == EVIDENCE]
            assert {"url": "source", "valueReference": {"reference": source}} in extension["extension"]
        provenance = result.bundle["entry"][-1]["resource"]
        assert [each["reference"] for each in provenance["target"]] == [
            each["fullUrl"] for each in result.bundle["entry"][1:-1]
        ]
        assert provenance["entity"] == [{"role": "source", "what": {"reference": source}}]


def test_what_is_denied_doubted_or_of_others_is_never_affirmed():
    result = written(ENGLISH)
    of = by_text(result)
    assert (state(of["diabetes"], "verificationStatus"), state(of["diabetes"], "clinicalStatus")) == (
        "confirmed",
        "active",
    )
    assert of["diabetes"]["code"]["coding"] == [{"system": ICD10, "code": "E11", "display": "Type 2 diabetes mellitus"}]
    for denied in ("fever", "pneumonia"):
        assert state(of[denied], "verificationStatus") == "refuted"
        assert "clinicalStatus" not in of[denied]
    assert state(of["heart failure"], "verificationStatus") == "unconfirmed"
    assert of["breast cancer"]["resourceType"] == "FamilyMemberHistory"
    assert of["penicillin"]["resourceType"] == "AllergyIntolerance"
    assert of["CT scan"]["status"] == "cancelled"
    assert state(of["CT scan"], "dataAbsentReason") == "not-performed"
    assert {each.span.text: each.reason for each in result.left_out} == {
        "chest pain": "it may happen, the note does not say that it has",
        "liver": "a place of the body is no finding",
    }


def test_drugs_and_results_are_given_as_far_as_they_are_written():
    of = by_text(written(ENGLISH))
    (dose,) = of["metformin 500 mg PO BID x 10 days"]["dosage"]
    assert dose["timing"]["repeat"] == {
        "boundsDuration": {"value": 10, "unit": "d", "system": UCUM, "code": "d"},
        "frequency": 2,
        "period": 1,
        "periodUnit": "d",
    }
    assert dose["doseAndRate"] == [{"doseQuantity": {"value": 500, "unit": "mg", "system": UCUM, "code": "mg"}}]
    assert dose["route"] == {"text": "oral"}
    hb = next(each for text, each in of.items() if text.startswith("Hb"))
    assert hb["code"]["coding"][0]["system"] == LOINC
    assert dump(hb["valueQuantity"]) == f'{{"value":7.80,"unit":"g/dL","system":"{UCUM}","code":"g/dL"}}'
    assert hb["interpretation"][0]["coding"][0]["code"] == "L"
    glucose = next(each for text, each in of.items() if text.startswith("glucose"))
    assert glucose["valueQuantity"] == {"value": 11}
    assert glucose["referenceRange"] == [{"low": {"value": 4}, "high": {"value": Decimal("6.1")}}]
    assert next(each for text, each in of.items() if text.startswith("troponin"))["valueString"] == "negative"


@pytest.mark.parametrize(
    ("text", "drug", "kind"),
    [
        ("She is allergic to warfarin and penicillin.", "penicillin", "AllergyIntolerance"),
        ("Has a penicillin allergy.", "penicillin", "AllergyIntolerance"),
        ("She is allergic to penicillin and takes metformin.", "metformin", "MedicationStatement"),
        ("Allergies: penicillin\nMedications: metformin", "metformin", "MedicationStatement"),
        ("患者对阿司匹林过敏。", "阿司匹林", "AllergyIntolerance"),
        ("患者服用阿司匹林。", "阿司匹林", "MedicationStatement"),
    ],
)
def test_an_allergy_is_no_medication(text, drug, kind):
    assert by_text(written(text))[drug]["resourceType"] == kind


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("History of appendectomy.", "completed"),
        ("No appendectomy was done.", "not-done"),
        ("Appendectomy is discussed.", "unknown"),
    ],
)
def test_the_status_of_a_procedure_is_what_the_note_says(text, status):
    resources = [entry["resource"] for entry in written(text).bundle["entry"]]
    assert [each["status"] for each in resources if each["resourceType"] == "Procedure"] == [status]


def test_chinese():
    of = by_text(written(CHINESE))
    assert state(of["高血压"], "verificationStatus") == "refuted"
    drug = next(each for text, each in of.items() if text.startswith("阿司匹林"))
    assert drug["dosage"][0]["timing"]["repeat"] == {"frequency": 1, "period": 1, "periodUnit": "d"}
    sugar = next(each for text, each in of.items() if text.startswith("血糖"))
    assert sugar["valueQuantity"]["code"] == "mmol/L"


def test_the_same_note_gives_the_same_bundle_and_a_kept_note_is_not_copied():
    assert dump(written(ENGLISH).bundle) == dump(written(ENGLISH).bundle)
    kept = written(ENGLISH, document="DocumentReference/7").bundle
    assert kept["entry"][0]["resource"]["resourceType"] == "AllergyIntolerance"
    assert ENGLISH[:12] not in dump(kept)
    assert {each.got.split(",")[0] for each in read(dump(kept)).problems} == {"'Patient/1'", "'DocumentReference/7'"}


@pytest.mark.parametrize(
    ("patient", "recorded", "document", "what"),
    [
        ("Ada", NOW, "", "patient: not a reference to a Patient: got 'Ada'"),
        ("Organization/1", NOW, "", "patient: not a reference to a Patient"),
        ("Patient/1", "yesterday", "", "recorded: not an instant: got 'yesterday'"),
        ("Patient/1", NOW, "Patient/1", "document: not a reference to a DocumentReference"),
    ],
)
def test_wrong_references_and_instants_are_refused(patient, recorded, document, what):
    with pytest.raises(InvalidRequest, match=what):
        write(read_note(ENGLISH, TERMS), patient, recorded, document)


def kept(text: str | bytes, day: str, kind: str = "text/plain; charset=utf-8", **fields: object) -> dict:
    data = base64.b64encode(text.encode() if isinstance(text, str) else text).decode()
    attachment = {"contentType": kind, "data": data, **fields}
    subject = {"reference": "Patient/1"}
    return {"resourceType": "DocumentReference", "status": "current", "date": f"{day}T08:00:00Z", "subject": subject,
            "content": [{"attachment": {name: each for name, each in attachment.items() if each}}]}  # fmt: skip


def condition(own: str, text: str, onset: str, **fields: object) -> dict:
    return {"resourceType": "Condition", "id": own, "subject": {"reference": "Patient/1"}, "code": {"text": text},
            "onsetDateTime": onset, **fields}  # fmt: skip


def test_a_note_beside_the_recorded_conditions():
    codes = {"coding": [{"system": ICD10, "code": "E11"}]}
    refuted = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "refuted"}]}
    lines = [
        {"resourceType": "Patient", "id": "1"},
        condition("sugar", "Zuckerkrankheit", "2010", code=codes),
        condition("lungs", "Pneumonia (disorder)", "2015-03-01", abatementDateTime="2015-04-01"),
        condition("heart", "heart failure", "2014-06", verificationStatus=refuted),
        condition("later", "Breast cancer", "2020-01-01"),
        condition("hot", "Fever", "2012-05-05"),
        condition("skin", "Eczema", "2012"),
        kept(
            "Patient has diabetes and heart failure. No pneumonia. Denies fever. Mother had breast cancer.",
            "2015-03-15",
        ),
        kept("Patient had pneumonia. Now no pneumonia. He has breast cancer.", "2016-03-15"),
    ]
    records = read_ndjson([json.dumps(line) for line in lines])
    assert records.problems == []
    first, second = compare(records, lambda text: read_note(text, TERMS).entities)
    assert [(said.text, key) for said, key in first.agreed] == [("diabetes", "Condition/sugar")]
    assert [(said.text, key) for said, key in first.contradicted] == [
        ("heart failure", "Condition/heart"),
        ("pneumonia", "Condition/lungs"),
        ("fever", "Condition/hot"),
    ]
    assert (first.unrecorded, first.unsaid) == ((), ("Condition/skin",))
    assert [(said.text, key) for said, key in second.agreed] == [("pneumonia", "Condition/lungs")]
    assert (second.contradicted, [said.text for said in second.unrecorded]) == ((), ["breast cancer"])
    assert totals([first, second]) == {"notes": 2, "agreed": 2, "contradicted": 3, "unrecorded": 1, "unsaid": 4}
    assert second.unsaid == ("Condition/sugar", "Condition/hot", "Condition/skin")


def test_notes_that_cannot_be_read_are_told():
    binary = {
        "resourceType": "Binary",
        "id": "b",
        "contentType": "text/plain",
        "data": base64.b64encode(b"no fever").decode(),
    }
    lines = [
        binary,
        kept("", "2020-01-01", url="Binary/b"),
        kept("", "2020-01-01", url="https://elsewhere.org/Binary/1"),
        kept("<b>x</b>", "2020-01-01", kind="text/html"),
        kept(b"\xff\xfe", "2020-01-01"),
        kept("Müller".encode("latin-1"), "2020-01-01", kind="text/plain; charset=iso-8859-1"),
    ]
    notes, problems = kept_notes(read_ndjson([json.dumps(line) for line in lines], "notes"))
    assert [note.text for note in notes] == ["no fever", "Müller"]
    assert [(each.path, each.what) for each in problems] == [
        ("notes line 3.content", "its text is elsewhere"),
        ("notes line 4.content", "no plain text"),
        ("notes line 5.content", "its text cannot be read (UnicodeDecodeError)"),
    ]


def test_a_note_that_was_written_can_be_read_back():
    bundle = written(ENGLISH).bundle
    (note,), problems = kept_notes(read(dump(bundle)))
    assert (note.text, note.patient, note.day, problems) == (ENGLISH, "Patient/1", "2026-11-29", [])
    assert parse(dump(bundle)) == bundle
