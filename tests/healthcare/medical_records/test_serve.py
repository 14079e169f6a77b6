"""Notes through a whole service: what is answered, what is refused, and what of a note is kept anywhere."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from common.bundle import Bundle
from common.config import settings
from common.errors import InvalidRequest, RequestTooLarge, UsageError
from common.serving.app import create_app
from healthcare.medical_records import SYSTEM
from healthcare.medical_records.model import RecordReader
from healthcare.medical_records.serve import NOTE, MedicalRecordsPredictor, NoSecret, Request, Unforeseen

URL = "/v1/medical_records/predict"
NAME, NUMBER = "Zebulon Quackenbush", "4471203-77"
SECRET = f"Patient: {NAME}, MRN {NUMBER}, phone (555) 123-4567.\nHPI: denies fever, possible pneumonia. Hb 7.80 g/dL.\n"
LEAKS = ("Zebulon", "Quackenbush", "4471203", "123-4567")
FOREIGN = {
    "German": f"Der Patient {NAME} klagt nicht über Schmerzen und hat keine Allergien mit der Haut",
    "Russian": "Пациент Квакенбуш жалуется на боль в груди",
    "Japanese": "カードをなくしました、どうすればいいですか",
    "Arabic": "المريض يشكو من ألم في الصدر",
}


def ask(client: TestClient, text: str, **fields: Any) -> dict[str, Any]:
    reply = client.post(URL, json={"text": text, **fields})
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def spans(part: Any) -> Iterator[dict[str, Any]]:
    """Every object of an answer that claims to be characters of its text."""
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from spans(value)
    if isinstance(part, dict) and {"start", "end", "text"} <= part.keys():
        yield part


def named(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entity["text"]: entity for entity in answer["entities"]}


def test_examples_of_the_interface_work_as_they_stand(client: TestClient) -> None:
    examples = client.get("/openapi.json").json()["components"]["schemas"]["Request"]["examples"]
    first, second = (client.post(URL, json=example).json() for example in examples)
    assert (first["language"], second["language"]) == ("en", "zh")
    assert named(first)["fever"]["negated"]
    assert not named(first)["Chest pain"]["negated"]
    assert named(first)["breast cancer"]["experiencer"] == "family"
    assert named(second)["发热"]["negated"]
    assert "Mary" not in json.dumps(first)
    assert "张伟" not in json.dumps(second, ensure_ascii=False)
    assert first["simulated"] is True


@pytest.mark.parametrize("identifiers", ["mask", "surrogate", "keep"])
@pytest.mark.parametrize(
    "text", [NOTE, SECRET, "🙂 𠮷 Patient: Mary Smith. Denies fever. aspirin 81 mg PO daily. Hb 7.8 g/dL"]
)
def test_every_place_is_characters_of_the_answers_own_text(client: TestClient, text: str, identifiers: str) -> None:
    answer = ask(client, text, identifiers=identifiers, patient="p1")
    found = list(spans(answer))
    assert len(found) > 5
    assert [span for span in found if answer["text"][span["start"] : span["end"]] != span["text"]] == []
    assert (answer["text"] == text) is (identifiers == "keep")
    assert bool(answer["identifiers"]) is (identifiers != "keep")


def test_by_default_nobody_is_named_and_kept_only_on_request(client: TestClient) -> None:
    answer = ask(client, SECRET)
    assert not [leak for leak in LEAKS if leak in json.dumps(answer)]
    kinds = {one["kind"]: answer["text"][one["start"] : one["end"]] for one in answer["identifiers"]}
    assert kinds == {"name": "[NAME]", "mrn": "[MRN]", "phone": "[PHONE]"}
    assert all(one.keys() == {"kind", "start", "end"} for one in answer["identifiers"])
    assert ask(client, SECRET, identifiers="keep")["text"] == SECRET


def test_surrogates_are_the_same_for_one_patient_and_differ_for_others(client: TestClient) -> None:
    first, again, other = (ask(client, SECRET, identifiers="surrogate", patient=key)["text"] for key in ("a", "a", "b"))
    assert first == again != other
    assert not [leak for leak in LEAKS if leak in first]
    assert "[NAME]" not in first
    refused = client.post(URL, json={"text": SECRET, "identifiers": "surrogate"})
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("patient: surrogates need a patient")


def test_surrogates_without_a_secret_are_refused_and_a_short_one_is_no_secret(
    small: Bundle, environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ESPALIER_RECORDS_KEY")
    predictor = MedicalRecordsPredictor.load(small)
    with pytest.raises(NoSecret, match="ESPALIER_RECORDS_KEY: there is no secret for surrogates") as refused:
        predictor.predict([Request(text=SECRET, identifiers="surrogate", patient="a")])
    assert refused.value.status == 422
    assert predictor.predict([Request(text=SECRET)])[0].identifiers
    monkeypatch.setenv("ESPALIER_RECORDS_KEY", "short")
    with pytest.raises(UsageError, match="too short a key"):
        MedicalRecordsPredictor.load(small)


def test_what_is_known_of_the_patient_is_found_wherever_it_stands(client: TestClient) -> None:
    text = "Seen today in the ward. mxyzptlk is well and has no fever, MXYZPTLK walks."
    assert "mxyzptlk" in ask(client, text)["text"]
    answer = ask(client, text, known=[{"kind": "name", "value": "Mxyzptlk"}])
    assert "xyzptlk" not in answer["text"].lower()
    assert len([one for one in answer["identifiers"] if one["kind"] == "name"]) == 2


def test_what_stands_for_an_identifier_is_no_concept(predictor: MedicalRecordsPredictor) -> None:
    text = "Seen by fever MD. No fever. aspirin 5 mg daily by aspirin MD."
    request = Request(text=text, known=[{"kind": "name", "value": "fever MD"}, {"kind": "name", "value": "aspirin MD"}])
    answer = predictor.predict([request])[0]
    places = [(one.start, one.end) for one in answer.identifiers]
    parts = [*answer.entities, *answer.abbreviations, *(one.drug for one in answer.medications)]
    assert places
    assert not [part for part in parts for start, end in places if part.start < end and start < part.end]


@pytest.mark.parametrize("text", ["", " \n\t", "12345", "?!… 🙂"])
def test_a_note_without_text_is_refused(client: TestClient, text: str) -> None:
    reply = client.post(URL, json={"text": text})
    assert reply.status_code == 422
    assert reply.json()["detail"].startswith("text: the note has no text")
    assert "English or Chinese" in reply.json()["detail"]


@pytest.mark.parametrize("language", FOREIGN)
def test_another_language_is_refused_without_repeating_the_note(client: TestClient, language: str) -> None:
    reply = client.post(URL, json={"text": FOREIGN[language]})
    assert reply.status_code == 422
    assert reply.json()["detail"].startswith("text: the language is not supported: got ")
    assert not [word for word in FOREIGN[language].split() if len(word) > 5 and word in reply.text]


def test_a_note_of_five_megabytes_is_told_that_it_is_too_long(client: TestClient) -> None:
    reply = client.post(URL, json={"text": (SECRET * 60_000)[:5_000_000]})
    assert reply.status_code == 413
    assert reply.json()["detail"] == (
        "the note is too long: got 5,000,000 characters, expected at most 1,000,000; send each note by itself."
    )
    assert client.post(URL, json={"text": "x" * 9_000_000}).status_code == 413


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "text"),
        ({"text": 3}, "text"),
        ({"text": SECRET, "identifiers": "none"}, "identifiers"),
        ({"text": SECRET, "known": [{"kind": "pet", "value": "Rex"}]}, "known[0].kind"),
        ({"text": SECRET, "known": [{"kind": "name", "value": "x"}]}, "known[0].value"),
        ({"text": SECRET, "language": "en"}, "language"),
    ],
)
def test_a_wrong_field_is_named_and_the_note_not_repeated(client: TestClient, body: dict[str, Any], field: str) -> None:
    reply = client.post(URL, json=body)
    assert reply.status_code == 422
    assert reply.json()["errors"][0]["field"] == field
    assert not [leak for leak in LEAKS if leak in reply.text]


def test_a_bad_row_is_named_and_fails_nobody_elses(client: TestClient, predictor: MedicalRecordsPredictor) -> None:
    rows = [{"text": SECRET}, {"text": FOREIGN["German"]}]
    reply = client.post(f"{URL}/batch", json={"rows": rows})
    assert reply.status_code == 422
    assert reply.json()["detail"].startswith("rows[1].text: the language is not supported")
    with pytest.raises(InvalidRequest, match="language"):
        predictor.predict([Request(text=row["text"]) for row in rows])
    with pytest.raises(RequestTooLarge):
        predictor.predict([Request(text="a" * 1_000_001)])


def test_a_batch_and_threads_answer_as_one_alone(predictor: MedicalRecordsPredictor) -> None:
    texts = [NOTE, SECRET, "患者张伟，男，58岁。否认发热。血糖 11.2 mmol/L", "No fever."] * 4
    requests = [Request(text=text, identifiers=how, patient="a") for text in texts for how in ("mask", "surrogate")]
    alone = [predictor.predict([request])[0] for request in requests]
    assert predictor.predict(requests) == alone
    assert predictor.predict([]) == []
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda request: predictor.predict([request])[0], requests)) == alone


def test_a_value_without_a_unit_stays_without_one(client: TestClient) -> None:
    answer = ask(client, "Labs: Hb 7.80 g/dL (L), glucose 11, sodium 140 blips/L. Patient is well.")
    found = {result["test"]: result for result in answer["results"]}
    assert (found["hemoglobin"]["written"], found["hemoglobin"]["ucum"]) == ("7.80", "g/dL")
    assert found["hemoglobin"]["flag"] == "low"
    glucose = found["glucose"]
    assert (glucose["value"], glucose["unit"], glucose["ucum"], glucose["flag"]) == (11.0, "", None, None)
    assert glucose["codes"] == []
    assert (found["sodium"]["unit"], found["sodium"]["ucum"]) == ("blips/L", None)


def test_a_medication_has_its_parts_and_an_abbreviation_its_meanings(client: TestClient) -> None:
    answer = ask(client, "metformin 500 mg PO BID x 10 days. Stopped aspirin. Shortness of breath (SOB), no SOB now.")
    first, second = answer["medications"]
    assert (first["dose"]["value"], first["dose"]["unit"], first["route"]) == (500.0, "mg", "oral")
    assert (first["frequency"]["times"], first["duration"]["value"]) == (2.0, 10.0)
    assert second["stopped"]
    assert {one["text"]: one["defined"] for one in answer["abbreviations"]}["SOB"]


def test_a_summary_points_at_every_place(client: TestClient) -> None:
    answer = ask(client, "Chest pain today. Denies fever. The chest pain began at rest. Mother had breast cancer.")
    lines = {(line["group"], line["text"]): len(line["evidence"]) for line in answer["summary"]}
    assert lines == {("problems", "Chest pain"): 2, ("denied", "fever"): 1, ("family", "breast cancer"): 1}
    assert answer["density"] == pytest.approx(100 * 4 / len(answer["text"]))


def texts_of(records: list[logging.LogRecord]) -> str:
    """All that a handler could write of the records."""
    formatter = logging.Formatter("%(message)s %(fields)s", defaults={"fields": ""})
    return "\n".join(f"{formatter.format(record)} {record.__dict__}" for record in records)


def test_no_word_of_a_note_is_in_a_log_or_on_record(
    client: TestClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("espalier.access").addHandler(caplog.handler)
    kept = []
    for fields in ({}, {"identifiers": "keep"}, {"identifiers": "surrogate", "patient": NAME}):
        reply = client.post(URL, json={"text": SECRET, "known": [{"kind": "name", "value": NAME}], **fields})
        assert reply.status_code == 200
        kept.append(client.get(f"/v1/decisions/{reply.headers['x-decision-id']}").json())
    for body in ({"text": FOREIGN["German"]}, {"text": SECRET, "identifiers": NAME}, {"text": [SECRET]}, {SECRET: 1}):
        assert client.post(URL, json=body).status_code == 422
    assert client.post(URL, content=SECRET, headers={"content-type": "application/json"}).status_code == 400

    def quote(self: RecordReader, text: str) -> None:
        raise ValueError(f"cannot read {text} of {NAME}")

    monkeypatch.setattr(RecordReader, "read", quote)
    broken = client.post(URL, json={"text": SECRET, "identifiers": "keep"})
    assert broken.status_code == 500
    logged = texts_of(caplog.records)
    logging.getLogger("espalier.access").removeHandler(caplog.handler)
    assert "Unforeseen" in logged
    assert "ValueError in test_serve.py, line" in logged
    assert URL in logged
    for where in (logged, json.dumps(kept), broken.text):
        assert not [leak for leak in (*LEAKS, "pneumonia", "denies") if leak in where]
    assert kept[0]["inputs"]["text"].startswith("#")
    assert kept[1]["output"]["text"].startswith("#")
    found = kept[1]["output"]["entities"][0]
    assert (found["kind"], found["negated"], found["start"]) == ("symptom", True, SECRET.index("fever"))


def test_a_fault_that_was_not_foreseen_says_where_and_not_what(
    predictor: MedicalRecordsPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RecordReader, "read", lambda self, text: {}[text])
    with pytest.raises(Unforeseen, match=r"^KeyError in test_serve.py, line \d+$") as fault:
        predictor.predict([Request(text=SECRET)])
    assert fault.value.__suppress_context__


def test_it_is_served_without_a_library_of_training(small: Bundle, environment: None) -> None:
    code = (
        "import sys, json; from common.bundle import load_bundle; "
        "from healthcare.medical_records.serve import MedicalRecordsPredictor as P, Request; "
        f"p = P.load(load_bundle({str(small.path)!r})); p.predict([Request(text='No fever.')]); "
        "print(json.dumps([m for m in ('torch', 'transformers', 'sklearn', 'pandas', 'fastapi') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_a_service_with_a_secret_that_is_too_short_says_so(
    small: Bundle, environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESPALIER_RECORDS_KEY", "short")
    settings.cache_clear()
    with TestClient(create_app("healthcare", {SYSTEM.name: small.path}, systems=[SYSTEM])) as client:
        ready = client.get("/health/ready").json()
    assert "too short a key" in ready["reasons"][SYSTEM.name]
