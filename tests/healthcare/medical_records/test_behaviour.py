from __future__ import annotations

import pytest

from common.bundle import Bundle
from common.evaluation.page import write_page
from healthcare.medical_records.evaluate import evaluate
from healthcare.medical_records.model import RecordReader


@pytest.fixture(scope="module")
def report(trained: Bundle):
    return evaluate(trained)


def test_the_sample_beats_its_floor_and_the_phrases_it_learnt(report):
    found, _ = report
    assert found.simulated
    assert found.metrics["f1"].value > found.floor["f1"] + 0.3
    for language in ("en", "zh"):
        learnt = found.baselines["longest match of training phrases"][f"f1_{language}"]
        assert found.metrics[f"f1_{language}"].value > learnt + 0.3  # no term of the test was seen
    assert found.metrics["negation_f1"].value > 0.9
    assert found.metrics["pii_recall_simulated-zh"].value > 0.9


def test_every_label_is_a_slice_and_the_page_shows_them(report, tmp_path):
    found, sections = report
    groups = {(one.name, one.group) for one in found.slices}
    assert groups >= {("label, en", "drug"), ("label, zh", "drug")}
    page = write_page(tmp_path / "report.html", found, sections).read_text(encoding="utf-8")
    assert "Kinds of identifiers" in page
    assert "Not a medical device" in page


@pytest.mark.parametrize(
    ("affirmed", "denied", "word"),
    [
        ("She has pneumonia.", "She has no pneumonia.", "pneumonia"),
        ("Fever: present.", "Fever: none.", "Fever"),
        ("She is positive for influenza.", "She is negative for influenza.", "influenza"),
        ("She has further chest pain.", "She has no further chest pain.", "chest pain"),
        ("患者有胸痛。", "患者无胸痛。", "胸痛"),
        ("有高血压病史。", "否认高血压病史。", "高血压"),
    ],
)
def test_a_denial_changes_what_is_said_and_not_what_is_found(reader: RecordReader, affirmed, denied, word):
    first, second = (
        next(entity for entity in reader.read(text).entities if word in entity.text) for text in (affirmed, denied)
    )
    assert first.kind == second.kind
    assert (first.assertion.negated, second.assertion.negated) == (False, True)


def test_a_line_more_changes_no_line_before(reader: RecordReader):
    text = "Assessment: possible pneumonia.\nMedications: aspirin 81 mg daily.\n"
    before = reader.read(text)
    after = reader.read(text + "Plan: chest x-ray in two weeks.\n")
    assert after.entities[: len(before.entities)] == before.entities
    assert after.medications[: len(before.medications)] == before.medications


def test_every_span_is_the_notes_own_text(reader: RecordReader):
    text = "主诉：胸痛3天。口服阿司匹林100mg 每日一次。血糖 11.2 mmol/L，否认糖尿病病史。"
    found = reader.read(text)
    assert {entity.kind for entity in found.entities} >= {"symptom", "drug", "disease"}
    assert all(text[entity.start : entity.end] == entity.text for entity in found.entities)
