"""The routes beside `predict`, through a whole service."""

from __future__ import annotations

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from healthcare.medical_records import compared, routes
from healthcare.medical_records.fhir.read import explain
from healthcare.medical_records.fhir.write import evidence
from healthcare.medical_records.routes import LINES, RECORDS
from healthcare.medical_records.serve import MedicalRecordsPredictor

BASE = "/v1/medical_records"
NOTE = """Patient: Mary Smith, MRN 4471203.
HPI: denies fever, possible pneumonia. Return if chest pain occurs.
Hb 7.80 g/dL, glucose 11
"""
GERMAN = "Der Patient klagt nicht über Schmerzen und hat keine Allergien mit der Haut"
NAMES = ("Mary", "Smith", "4471203")


def send(client: TestClient, route: str, body: Any, kind: str = "application/json") -> Any:
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.post(f"{BASE}{route}", content=content, headers={"content-type": kind})


def decoded(resource: dict[str, Any]) -> str:
    return base64.b64decode(resource["content"][0]["attachment"]["data"]).decode()


def document(text: str, own: str, patient: str = "Patient/1", day: str = "2025-03-12") -> dict[str, Any]:
    data = base64.b64encode(text.encode()).decode()
    return {
        "resourceType": "DocumentReference",
        "id": own,
        "status": "current",
        "subject": {"reference": patient},
        "date": f"{day}T09:00:00Z",
        "content": [{"attachment": {"contentType": "text/plain", "data": data}}],
    }


def condition(words: str, own: str, **fields: Any) -> dict[str, Any]:
    begun = {"recordedDate": "2024-01-01", "subject": {"reference": "Patient/1"}}
    return {"resourceType": "Condition", "id": own, "code": {"text": words}, **begun, **fields}


def patient(**fields: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": "1", **fields}


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in resources]}


def lines(*resources: Any) -> str:
    return "\n".join(one if isinstance(one, str) else json.dumps(one) for one in resources)


def said(reply: Any) -> list[str]:
    assert reply.status_code == 200, reply.text
    found = reply.json()
    outcome = found.get("outcome", found)
    assert outcome["resourceType"] == "OperationOutcome"
    return [issue["diagnostics"] for issue in outcome["issue"]]


def test_examples_of_the_interface_work_as_they_stand(client: TestClient) -> None:
    document, tried = client.get("/openapi.json").json(), set()
    for path, operations in document["paths"].items():
        for kind, body in operations.get("post", {}).get("requestBody", {}).get("content", {}).items():
            name = body.get("schema", {}).get("$ref", "").rpartition("/")[2]
            examples = (
                [body["example"]]
                if "example" in body
                else document["components"]["schemas"].get(name, {}).get("examples", [])
            )
            for example in examples if path.startswith(BASE) else ():
                reply = send(client, path.removeprefix(BASE), example, kind)
                assert reply.status_code == (409 if path.endswith("/extract") else 200), (path, reply.text)
                declared = (
                    operations["post"]["responses"][str(reply.status_code)]["content"] if reply.is_success else {}
                )
                assert not declared or reply.headers["content-type"] in declared
                tried.add(path.removeprefix(BASE))
    assert tried >= {"/predict", "/deidentify", "/fhir/write", "/fhir/validate", "/fhir/notes", "/extract"}


def test_a_note_is_deidentified_alone(client: TestClient) -> None:
    found = send(client, "/deidentify", {"text": NOTE}).json()
    assert found["text"].startswith("Patient: [NAME], MRN [MRN].\nHPI: denies fever")
    assert [(one["kind"], found["text"][one["start"] : one["end"]]) for one in found["identifiers"]] == [
        ("name", "[NAME]"),
        ("mrn", "[MRN]"),
    ]
    refused = send(client, "/deidentify", {"text": GERMAN})
    assert (refused.status_code, refused.json()["detail"][:37]) == (422, "text: the language is not supported: ")


def test_a_note_becomes_fhir_without_names_and_says_what_it_left_out(client: TestClient) -> None:
    reply = send(client, "/fhir/write", {"text": NOTE, "patient": "Patient/1", "recorded": "2026-11-29T08:00:00Z"})
    found = reply.json()
    resources = [entry["resource"] for entry in found["bundle"]["entry"]]
    text = decoded(resources[0])
    assert text.startswith("Patient: [NAME], MRN [MRN].")
    assert not [name for name in NAMES if name in reply.text or name in text]
    for resource in resources:
        for span in evidence(resource):
            assert text[span.start : span.end] == span.text
    states = {
        one["code"]["text"]: one["verificationStatus"]["coding"][0]["code"]
        for one in resources
        if one["resourceType"] == "Condition"
    }
    assert states == {"fever": "refuted", "pneumonia": "unconfirmed"}
    assert '"value":7.80' in reply.text
    assert found["left_out"] == [
        {
            "start": text.index("chest pain"),
            "end": text.index("chest pain") + 10,
            "text": "chest pain",
            "reason": "it may happen, the note does not say that it has",
        }
    ]
    assert [problem for problem in explain(json.dumps(found["bundle"])) if problem.severity == "error"] == []
    kept = send(client, "/fhir/write", {"text": NOTE, "patient": "Patient/1", "identifiers": "keep"}).json()
    assert decoded(kept["bundle"]["entry"][0]["resource"]) == NOTE


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"patient": "Group/1"}, "patient: not a reference to a Patient: got 'Group/1'"),
        ({"patient": "Patient/1", "recorded": "yesterday"}, "recorded: not an instant: got 'yesterday'"),
        ({}, "patient: not accepted: got nothing"),
    ],
)
def test_what_cannot_become_fhir_is_refused(client: TestClient, fields: dict[str, str], told: str) -> None:
    reply = send(client, "/fhir/write", {"text": NOTE, **fields})
    assert reply.status_code == 422
    assert reply.json()["detail"].startswith(told)


def test_what_is_right_is_said_to_be(client: TestClient) -> None:
    reply = send(client, "/fhir/validate", RECORDS, "application/fhir+json")
    assert reply.headers["content-type"] == "application/fhir+json"
    assert said(reply) == ["Nothing is wrong with it.", "4 resources were read."]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"resourceType": "Patient", ', "the document, line 1, column 29: not JSON"),
        ("[1, 2]", "the document: not a resource: got list"),
        ({"resourceType": "Patient", "gender": "?"}, "Patient.gender"),
        ({"resourceType": "Nobody"}, "resourceType"),
        (
            bundle(document("x", "2", "urn:uuid:5f3c1d3a-5a0e-4d0c-9a58-0d3c2f6f1b7e")),
            "leads to nothing: got 'urn:uuid:5f3c",
        ),
        (bundle(document("x", "2", "Patient/9")), "leads to nothing at hand"),
    ],
)
def test_every_fault_has_its_place(client: TestClient, body: Any, told: str) -> None:
    assert any(told in issue for issue in said(send(client, "/fhir/validate", body)))


def test_references_in_a_circle_are_told_and_do_no_harm(client: TestClient) -> None:
    circle = [
        {"resourceType": "Organization", "id": own, "name": own, "partOf": {"reference": f"Organization/{other}"}}
        for own, other in (("a", "b"), ("b", "a"))
    ]
    issues = said(send(client, "/fhir/validate", bundle(*circle)))
    assert any("references in a circle: got Organization/a, Organization/b" in issue for issue in issues)
    notes = send(client, "/fhir/notes", bundle(*circle, patient(), document("No fever.", "3")))
    assert any("references in a circle" in issue for issue in said(notes))
    assert notes.json()["totals"]["notes"] == 1


@pytest.mark.parametrize("kind", [*LINES, "application/fhir+ndjson; charset=utf-8"])
def test_of_ndjson_the_broken_line_is_named_and_the_rest_is_read(client: TestClient, kind: str) -> None:
    body = lines(patient(), '{"resourceType": "Patient", "id": ', "", condition("asthma", "2"))
    issues = said(send(client, "/fhir/validate", body, kind))
    assert issues[0].startswith("line 2, line 1, column 34: not JSON")
    assert issues[-1] == "2 resources were read."
    assert len(issues) == 2


def test_a_name_that_stands_twice_is_refused_by_json_and_told_of_a_line(client: TestClient) -> None:
    doubled = '{"resourceType": "Patient", "id": "1", "id": "2"}'
    assert send(client, "/fhir/validate", doubled).status_code == 400
    issues = said(send(client, "/fhir/validate", doubled, LINES[0]))
    assert issues[0].startswith("line 1: Patient: a name stands twice in one object: got 'id'")


def test_ndjson_that_is_sent_as_json_is_one_fault(client: TestClient) -> None:
    issues = said(send(client, "/fhir/validate", lines(patient(), patient())))
    assert "not JSON" in issues[0]
    assert issues[-1] == "Nothing was read."


def test_thousands_of_faults_are_counted_and_not_all_listed(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compared, "MOST_ISSUES", 3)
    issues = said(send(client, "/fhir/validate", lines(*["{"] * 10), LINES[0]))
    assert issues[3:] == ["7 more problems are not listed.", "0 resources were read."]


@pytest.mark.parametrize("route", ["/fhir/validate", "/fhir/notes"])
def test_what_is_no_fhir_by_its_header_or_empty_is_refused(client: TestClient, route: str) -> None:
    other = send(client, route, RECORDS, "text/plain")
    assert other.status_code == 415
    assert "expected application/json or application/fhir+json or application/fhir+ndjson" in other.json()["detail"]
    empty = send(client, route, " ")
    assert (empty.status_code, empty.json()["detail"][:17]) == (422, "the body is empty")
    assert send(client, route, b"x" * (9 * 2**20)).status_code == 413
    assert send(client, "/deidentify", {"text": NOTE}, LINES[0]).status_code == 415


def test_notes_are_read_beside_the_conditions_of_their_patient(client: TestClient) -> None:
    text = "Patient has asthma and diabetes. Denies migraine. No chest pain. Mother has glaucoma."
    recorded = [condition("Asthma", "a"), condition("Migraine", "m"), condition("Gout", "g")]
    reply = send(client, "/fhir/notes", bundle(patient(), *recorded, document(text, "d")))
    found = reply.json()
    (note,) = found["notes"]
    assert note["document"] == "DocumentReference/d"
    assert [(pair["entity"]["text"].lower(), pair["condition"]) for pair in note["agreed"]] == [
        ("asthma", "Condition/a")
    ]
    assert [(pair["entity"]["text"], pair["condition"]) for pair in note["contradicted"]] == [
        ("migraine", "Condition/m")
    ]
    assert [entity["text"] for entity in note["unrecorded"]] == ["diabetes"]
    assert note["unsaid"] == ["Condition/g"]
    assert found["totals"] == {"notes": 1, "agreed": 1, "contradicted": 1, "unrecorded": 1, "unsaid": 1}
    assert note["answer"]["text"][note["agreed"][0]["entity"]["start"] :].startswith("asthma")


def test_notes_are_masked_by_what_the_patient_resource_says_too(client: TestClient) -> None:
    names = [{"family": "mxyzptlk", "given": ["qwxz"]}]
    owner = patient(
        name=names, identifier=[{"value": "ZZ-9-ZZ"}], birthDate="1961-05-04", address=[{"city": "qqville"}]
    )
    text = "mxyzptlk, qwxz of qqville is well, see ZZ-9-ZZ. No fever."
    for body, kind in (
        (bundle(owner, document(text, "d")), "application/json"),
        (lines(owner, document(text, "d")), LINES[0]),
    ):
        (note,) = send(client, "/fhir/notes", body, kind).json()["notes"]
        assert note["answer"]["text"] == "[NAME], [NAME] of [LOCATION] is well, see [MRN]. No fever."
    kept = send(client, "/fhir/notes?identifiers=keep", bundle(owner, document(text, "d"))).json()
    assert kept["notes"][0]["answer"]["text"] == text
    shifted = send(client, "/fhir/notes?identifiers=surrogate", bundle(owner, document(text, "d"))).json()
    assert "mxyzptlk" not in shifted["notes"][0]["answer"]["text"]


def test_a_note_that_cannot_be_read_is_named_and_the_others_are(client: TestClient) -> None:
    picture = document("x", "p")
    picture["content"][0]["attachment"]["contentType"] = "image/png"
    body = lines(patient(), document(GERMAN, "g"), "{broken", picture, document("No fever.", "e"))
    reply = send(client, "/fhir/notes", body, LINES[0])
    issues, found = said(reply), reply.json()
    assert [(note["document"], note["answer"] is None) for note in found["notes"]] == [
        ("DocumentReference/g", True),
        ("DocumentReference/e", False),
    ]
    assert found["notes"][0]["unsaid"] == []
    assert any(issue.startswith("line 3") and "not JSON" in issue for issue in issues)
    assert any(issue.startswith("DocumentReference/g: the language is not supported") for issue in issues)
    assert any(issue.startswith("line 4.content: no plain text") for issue in issues)
    assert found["totals"]["notes"] == 1


def test_decisions_of_these_routes_are_on_record_without_a_word_of_the_note(client: TestClient) -> None:
    replies = [
        send(client, "/fhir/write", {"text": NOTE, "patient": "Patient/1", "identifiers": "keep"}),
        send(client, "/fhir/notes?identifiers=keep", bundle(patient(), document(NOTE, "d"))),
    ]
    for reply in replies:
        kept = client.get(f"/v1/decisions/{reply.headers['x-decision-id']}")
        assert kept.json()["output"]["entities"][0]["negated"] is True
        assert not [name for name in (*NAMES, "fever", "pneumonia") if name in kept.text]
    assert "x-decision-id" not in send(client, "/fhir/validate", RECORDS).headers
    assert send(client, "/fhir/validate", RECORDS).headers["x-model-version"]


def test_too_many_at_once_are_told_to_come_back(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "MOST_WAITING", 1)
    client = request.getfixturevalue("client")  # a service that is made so
    inside, go = threading.Event(), threading.Event()

    plain = MedicalRecordsPredictor.deidentify

    def wait(self: MedicalRecordsPredictor, request: Any) -> Any:
        if not threading.current_thread().name.startswith("records"):
            return plain(self, request)  # a model that is loaded answers its golden requests
        inside.set()
        assert go.wait(60)
        raise RuntimeError(NOTE)

    monkeypatch.setattr(MedicalRecordsPredictor, "deidentify", wait)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(send, client, "/deidentify", {"text": NOTE})
        assert inside.wait(60)
        refused = send(client, "/fhir/validate", RECORDS)
        go.set()
        assert waiting.result().status_code == 500
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert "too many requests are being answered" in refused.json()["detail"]
    assert send(client, "/fhir/validate", RECORDS).status_code == 200
