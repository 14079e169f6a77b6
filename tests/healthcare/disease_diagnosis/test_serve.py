from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sklearn.datasets import load_sample_images

from common.serving.app import create_app
from common.tables import score_file
from common.vision.images import png, to_base64
from healthcare.disease_diagnosis import SYSTEM
from healthcare.disease_diagnosis.fhir import LOINC, OWN
from healthcare.disease_diagnosis.train import record_of

ROUTE = "/v1/disease_diagnosis"


SYSTOLIC = [{"system": LOINC, "code": "8480-6"}]


def serving(predictor):
    return TestClient(create_app("healthcare", systems=[SYSTEM], predictors={SYSTEM.name: predictor}))


@pytest.fixture(scope="module")
def cardiology(heart):
    with serving(heart) as client:
        yield client


@pytest.fixture(scope="module")
def radiology(chest):
    with serving(chest) as client:
        yield client


@pytest.fixture(scope="module")
def patient(patients):
    return record_of(patients, 0)


def refusal(reply) -> str:
    assert reply.status_code == 422, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    return reply.json()["detail"]


def test_every_answer_ranks_findings_and_carries_the_intended_use(cardiology, patients):
    for i in range(12):
        answer = cardiology.post(f"{ROUTE}/predict", json=record_of(patients, i)).json()
        chances = [entry["probability"] for entry in answer["differential"]]
        assert chances == sorted(chances, reverse=True)
        assert sum(chances) == pytest.approx(1)
        assert answer["intended_use"] == SYSTEM.intended_use
        assert (answer["finding"] is None) == (answer["decision"] == "refer") == bool(answer["why_referred"])
        left = [entry["finding"] for entry in answer["differential"] if entry["possible"]]
        assert answer["decision"] == "refer" or left == [answer["finding"]]


def test_the_api_says_what_it_is_for(cardiology):
    described = cardiology.get("/openapi.json").json()["paths"][f"{ROUTE}/predict"]["post"]
    assert "not a medical device" in json.dumps(described)
    assert SYSTEM.intended_use in json.dumps(cardiology.get("/openapi.json").json()["components"])


def test_a_healthy_answer_is_never_given_where_acting_is_cheaper(cardiology, patients):
    answers = [cardiology.post(f"{ROUTE}/predict", json=record_of(patients, i)).json() for i in range(80)]
    healthy = [a for a in answers if a["finding"] == "no coronary artery disease"]
    assert healthy
    assert not any(answer["act"] for answer in healthy)


def test_the_other_centre_has_a_calibration_and_a_promise_of_its_own(cardiology, patient):
    asked = patient | {"ca": None, "thal": None}
    here, there = (cardiology.post(f"{ROUTE}/predict", json=asked | {"site": s}).json() for s in PATIENT_SITES)
    assert "cleveland" in here["calibrated_on"]
    assert "elsewhere" in there["calibrated_on"]
    assert here["differential"] != there["differential"]
    assert here["tests"] == ["cholesterol", "blood sugar", "exercise", "ST slope"]


PATIENT_SITES = ("cleveland", "elsewhere")


@pytest.mark.parametrize(
    ("field", "value", "question"),
    [
        ("chol", 5.2, "is 5.2 in mmol/L? Then send 201"),
        ("trestbps", 17.3, "is 17.3 in kPa? Then send 130"),
    ],
)
def test_a_value_that_looks_like_another_unit_is_asked_about(cardiology, patient, field, value, question):
    told = refusal(cardiology.post(f"{ROUTE}/predict", json=patient | {field: value}))
    assert told.startswith(f"{field}: not accepted")
    assert question in told


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("age", -3, "age: not accepted: got -3, expected a number from 0"),
        ("chol", 0, "chol: not accepted: got 0"),
        ("sex", "f", "sex: not accepted"),
        ("site", "boston", "site: not accepted"),
        ("coverage", 1.5, "coverage: not accepted"),
    ],
)
def test_impossible_values_are_refused_by_name(cardiology, patient, field, value, told):
    assert refusal(cardiology.post(f"{ROUTE}/predict", json=patient | {field: value})).startswith(told)


def observation(code, system=OWN, **value):
    return {
        "resource": {"resourceType": "Observation", "code": {"coding": [{"system": system, "code": code}]}, **value}
    }


def bundle_of(patient) -> dict:
    entries = [{"resource": {"resourceType": "Patient", "id": "1", "gender": patient["sex"]}}]
    loinc = {"age": ("30525-0", "a"), "trestbps": ("8480-6", "mm[Hg]"), "chol": ("2093-3", "mg/dL")}
    own = {"thalach": "/min", "oldpeak": "mm", "ca": None}
    for name, value in patient.items():
        if name in loinc:
            quantity = {"value": value, "code": loinc[name][1]}
            entries.append(observation(loinc[name][0], LOINC, valueQuantity=quantity))
        elif name in own and value is not None:
            entries.append(observation(name, valueQuantity={"value": value, "code": own[name]}))
        elif name != "sex" and value is not None:
            entries.append(observation(name, valueCodeableConcept={"text": value}))
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def test_a_fhir_bundle_gets_the_answer_of_the_same_patient(cardiology, patient):
    told = cardiology.post(f"{ROUTE}/fhir", json=bundle_of(patient))
    assert told.status_code == 200, told.text
    assert told.json() == cardiology.post(f"{ROUTE}/predict", json=patient).json()


def test_a_panel_is_read_by_its_components(cardiology, patient):
    bundle = bundle_of(patient)
    pressure = next(e for e in bundle["entry"] if e["resource"].get("code", {}).get("coding") == SYSTOLIC)
    panel = observation("85354-9", LOINC, status="final", component=[pressure["resource"]])
    bundle["entry"][bundle["entry"].index(pressure)] = panel
    assert (
        cardiology.post(f"{ROUTE}/fhir", json=bundle).json() == cardiology.post(f"{ROUTE}/predict", json=patient).json()
    )


@pytest.mark.parametrize(
    ("address", "reference"),
    [("urn:uuid:7f", "urn:uuid:7f"), ("http://h/fhir/Patient/1", "Patient/1"), ("", "http://h/Patient/1/_history/2")],
)
def test_one_patient_may_be_named_in_several_ways(cardiology, patient, address, reference):
    bundle = bundle_of(patient)
    bundle["entry"][0] |= {"fullUrl": address} if address else {}
    for entry in bundle["entry"][1:]:
        entry["resource"]["subject"] = {"reference": reference}
    assert cardiology.post(f"{ROUTE}/fhir", json=bundle).status_code == 200


def test_answers_to_fhir_bundles_are_on_record(home, heart_bundle, patient):
    with TestClient(create_app("healthcare", {SYSTEM.name: heart_bundle.path}, systems=[SYSTEM])) as client:
        reply = client.post(f"{ROUTE}/fhir", json=bundle_of(patient))
        kept = client.get(f"/v1/decisions/{reply.headers['x-decision-id']}").json()
        # A reason of a sensitive field is masked too.
        assert kept["output"] | {"reasons": 0} == reply.json() | {"reasons": 0}
        assert kept["version"] == reply.headers["x-model-version"]
        assert kept["inputs"]["chol"] == patient["chol"]
        assert kept["inputs"]["age"] != patient["age"]  # sensitive: masked
        assert client.app.state.slots[0].monitor.fold() == 1


def changed(bundle, extra):
    return bundle | {"entry": [*bundle["entry"], extra]}


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (observation("718-7", LOINC, valueQuantity={"value": 14}), "code: unknown code: got http://loinc.org|718-7"),
        (observation("chol", valueQuantity={"value": 5, "code": "mmol/L"}), "chol is in another unit: got 'mmol/L'"),
        (observation("chol", valueQuantity={"value": 200, "code": "mg/dL"}), "measured twice: got chol"),
        (observation("chol"), "no value: got chol"),
        (observation("ca", valueQuantity="2"), "no value: got ca"),
        ({"resource": {"resourceType": "Condition"}}, "not a Patient or an Observation: got 'Condition'"),
        ({"resource": {"resourceType": "Observation"}}, "unknown code: got no coding"),
        ({"resource": {"resourceType": "Patient", "birthDate": "May"}}, "birthDate: not a date: got 'May'"),
        (observation("ca", status="entered-in-error"), "status: a withdrawn observation: got 'entered-in-error'"),
        (
            observation("85354-9", LOINC, component=[observation("8462-4", LOINC)["resource"]]),
            "component[0].code: unknown code: got http://loinc.org|8462-4",
        ),
        (observation("85354-9", LOINC, component=["120"]), "component[0].code: unknown code: got no coding"),
        ({"resource": {"resourceType": "Patient", "id": "2"}}, "another patient: got Patient/1, Patient/2"),
        (observation("ca", subject={"reference": "Patient/2"}), "another patient: got Patient/1, Patient/2"),
    ],
)
def test_what_a_fhir_bundle_gets_wrong_is_named_with_its_entry(cardiology, patient, extra, told):
    bundle = changed(bundle_of(patient), extra)
    answer = refusal(cardiology.post(f"{ROUTE}/fhir", json=bundle))
    assert answer.startswith(f"entry[{len(bundle['entry']) - 1}].resource")
    assert told in answer


@pytest.mark.parametrize("body", [b"{", b'"text"', b'{"resourceType": "Patient"}'])
def test_what_is_no_fhir_bundle_is_refused(cardiology, body):
    assert "FHIR" in refusal(
        cardiology.post(f"{ROUTE}/fhir", content=body, headers={"content-type": "application/json"})
    )


def test_a_table_is_scored_as_its_rows_are_answered(heart, patients, tmp_path):
    source, target = tmp_path / "patients.csv", tmp_path / "scored.csv"
    patients.frame.head(30).assign(number=range(30)).to_csv(source, index=False)
    assert score_file(heart, source, target, lambda rows, share: None) == 30
    lines = target.read_text().splitlines()
    assert lines[0].replace('"', "") == "number,probability,decision,finding"
    answers = heart.predict([heart.request(**record_of(patients, i)) for i in range(30)])
    for line, answer in zip(lines[1:], answers, strict=True):
        _, p, decision, _ = line.replace('"', "").split(",")
        assert decision == answer.decision
        assert float(p) == pytest.approx(
            {e.finding: e.probability for e in answer.differential}[heart.engine.findings[1]]
        )


def ask(client, content: bytes, **more):
    return client.post(f"{ROUTE}/predict", json={"picture": base64.b64encode(content).decode(), **more})


@pytest.fixture(scope="module")
def picture(chests, chest):
    usual = np.flatnonzero(~chest.engine.typical.refused(chests.picture))
    return chests.picture[usual[0]]


def file_of(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind)
    return buffer.getvalue()


def npz(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_a_chest_gets_findings_and_a_map(radiology, picture):
    answer = ask(radiology, png(picture)).json()
    assert {entry["finding"] for entry in answer["differential"]} == {"normal", "pneumonia"}
    assert answer["simulated"]
    assert 0 < answer["typical"] <= 1
    with Image.open(io.BytesIO(base64.b64decode(answer["heat_map"]))) as drawn:
        assert drawn.size == (112, 112)


def test_an_npz_and_a_large_png_of_it_are_the_same_chest(radiology, picture):
    first, array = (ask(radiology, content).json() for content in (png(picture), npz(image=picture)))
    assert first == array
    large = Image.fromarray(picture).resize((280, 280), Image.Resampling.NEAREST)
    again = ask(radiology, file_of(large), any_picture=True).json()
    one, other = ({e["finding"]: e["probability"] for e in a["differential"]}["normal"] for a in (first, again))
    assert one == pytest.approx(other, abs=0.2)


PHOTOGRAPH = Image.fromarray(load_sample_images().images[0])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda p: png(np.rot90(p, 2)), "picture: the chest X-ray seems to be upside down"),
        (lambda p: png(np.rot90(p)), "picture: the chest X-ray seems to be turned to the left"),
        (lambda p: png(255 - p), "picture: the chest X-ray seems to be inverted"),
        (lambda p: file_of(PHOTOGRAPH.crop((0, 0, 400, 400))), "picture: a colour picture"),
        (lambda p: file_of(PHOTOGRAPH.convert("L").crop((0, 0, 400, 400))), "picture: this does not look like"),
        (lambda p: png(p[:20, :20]), "picture: the picture is too small: got 20 x 20 pixels"),
        (lambda p: png(np.tile(p, (1, 2))), "picture: the picture is too long: got 56 x 28 pixels"),
        (lambda p: png(np.full((28, 28), 90, np.uint8)), "picture: nothing can be seen"),
        (lambda p: npz(a=p, b=p), "picture: which array is the picture: got 2: a, b"),
        (lambda p: npz(a=np.stack([p] * 3, 2)), "got uint8 (28, 28, 3), expected uint8 (height, width), one channel"),
        (lambda p: npz(a=p.astype(float)), "got float64 (28, 28)"),
        (lambda p: npz(a=p)[:200], "picture: not an npy or npz file"),
        (lambda p: b"plain text", "picture: not a picture"),
    ],
)
def test_what_is_no_upright_chest_is_refused_in_a_sentence(radiology, picture, change, told):
    assert told in refusal(ask(radiology, change(picture)))


def test_a_turned_chest_is_answered_when_it_is_meant_so(radiology, picture):
    assert ask(radiology, png(np.rot90(picture, 2)), any_picture=True).status_code == 200


def dicom(pixels: np.ndarray | None, kind: str = "MONOCHROME2", frames: int = 1) -> bytes:
    pydicom = pytest.importorskip("pydicom")
    file = pydicom.Dataset()
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file.SOPClassUID, file.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3"
    file.file_meta.MediaStorageSOPClassUID, file.file_meta.MediaStorageSOPInstanceUID = file.SOPClassUID, "1.2.3"
    file.Modality = "DX"
    if pixels is not None:
        file.Rows, file.Columns = pixels.shape
        file.SamplesPerPixel, file.PhotometricInterpretation, file.NumberOfFrames = 1, kind, frames
        file.BitsAllocated = file.BitsStored = 16
        file.HighBit, file.PixelRepresentation = 15, 0
        file.PixelData = np.tile(pixels.astype(np.uint16), (frames, 1)).tobytes()
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_a_dicom_is_read_by_its_own_photometric_interpretation(radiology, picture):
    whole = np.round((picture.astype(float) - picture.min()) / np.ptp(picture) * 255).astype(np.uint8)
    expected = ask(radiology, png(whole), any_picture=True).json()
    plain = ask(radiology, dicom(whole * np.uint16(16)), any_picture=True)
    turned = ask(radiology, dicom(4095 - whole * np.uint16(16), "MONOCHROME1"), any_picture=True)
    for reply in (plain, turned):
        assert reply.status_code == 200, reply.text
        assert reply.json()["differential"][0]["probability"] == pytest.approx(
            expected["differential"][0]["probability"], abs=0.01
        )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lambda: dicom(None), "picture: a DICOM without pixel data: got DX"),
        (lambda: dicom(np.arange(900).reshape(30, 30), "PALETTE COLOR"), "picture: not a plain radiograph"),
        (lambda: dicom(np.arange(900).reshape(30, 30), frames=2), "got MONOCHROME2, 2 frames"),
        (lambda: dicom(np.arange(900).reshape(30, 30))[:-600], "picture: the pixels cannot be read"),
    ],
)
def test_a_dicom_that_is_no_radiograph_is_refused(radiology, content, told):
    assert told in refusal(ask(radiology, content()))


def test_a_bundle_of_pictures_refuses_measurements(radiology, patient):
    assert "this bundle reads pictures" in refusal(radiology.post(f"{ROUTE}/fhir", json=bundle_of(patient)))


def test_files_become_requests(chest, heart, picture, patient):
    assert chest.predict([chest.request_of(png(picture))])[0].typical
    asked = heart.request_of(json.dumps(bundle_of(patient)).encode())
    assert heart.predict([asked])[0].tests
    assert to_base64(png(picture))
