from __future__ import annotations

import numpy as np
import pytest

from common.errors import BundleCorrupted, DataError
from common.text.tags import Mark
from healthcare.medical_records.evaluate import baseline, denials_of, guessing
from healthcare.medical_records.model import RecordReader
from healthcare.medical_records.ner_data import Marked
from healthcare.medical_records.notes import read_note
from healthcare.medical_records.simulator import Simulated
from healthcare.medical_records.spans import Entity

NOTE = "Hypertension. He denies fever. Metformin 500 mg PO BID. Hb 9.8 g/dL."


def test_a_reader_is_what_its_state_says(reader: RecordReader):
    again = RecordReader.of(reader.arrays(), reader.files())
    assert again.read(NOTE) == reader.read(NOTE)
    assert again.files() == reader.files()
    with pytest.raises(BundleCorrupted, match="dictionary"):
        RecordReader.of(reader.arrays(), reader.files() | {"dictionary.json": b"{}"})


def test_without_a_token_model_the_dictionary_reads_alone(reader: RecordReader):
    files = {name: content for name, content in reader.files().items() if not name.startswith("entities")}
    found = RecordReader.of(reader.arrays(), files).read(NOTE)
    assert [(e.text, e.kind) for e in found.entities][:2] == [("Hypertension", "disease"), ("fever", "symptom")]


def test_calling_every_word_an_entity_is_the_floor():
    test = Marked(["1"], ["pain and fever"], [[Mark(0, 4, "symptom"), Mark(9, 14, "symptom")]])
    train = Marked(["1"], ["a fever"], [[Mark(2, 7, "symptom")]])
    assert guessing({"en": train}, {"en": test}) == pytest.approx(2 * (2 / 3) / (2 / 3 + 1))
    assert baseline({"en": train}, {"en": test}) == {"f1_en": pytest.approx(2 * 0.5 / 1.5)}


def test_denials_are_counted_at_the_marks():
    text = "No fever. Cough. No cough."
    marks = [Mark(3, 8, "symptom"), Mark(10, 15, "symptom"), Mark(20, 25, "symptom")]
    right, wrong = (
        Simulated(Marked(["1"], [text], [marks]), [said]) for said in ([True, False, True], [False, True, False])
    )
    assert denials_of([right])["f1"].value == 1
    assert denials_of([right, wrong])["precision"].value == 0.5


def test_a_term_of_the_dictionary_holds_what_the_model_cut_or_takes_for_another(reader: RecordReader):
    text = "She has deep vein thrombosis."
    start = text.index("vein")
    cut = Entity("anatomy", start, start + 4, "vein")
    found = read_note(text, reader.dictionary, [cut]).entities
    assert [(entity.text, entity.kind) for entity in found] == [("deep vein thrombosis", "disease")]
    same = Entity("test", text.index("deep"), len(text) - 1, "deep vein thrombosis")
    assert read_note(text, reader.dictionary, [same]).entities == found
    wide = Entity("symptom", 4, len(text) - 1, text[4:-1])
    assert read_note(text, reader.dictionary, [wide]).entities[0].kind == "symptom"


def test_a_density_is_entities_for_a_hundred_characters(reader: RecordReader):
    found = reader.read(NOTE)
    assert found.density == pytest.approx(100 * len(found.entities) / len(NOTE))
    assert np.isfinite(found.density)


def test_another_set_than_the_bundles_is_refused(trained, monkeypatch: pytest.MonkeyPatch):
    from healthcare.medical_records import evaluate as room

    monkeypatch.setattr(room, "test_rows", lambda *_: b"others")
    with pytest.raises(DataError, match="the test part is not the one"):
        room.evaluate(trained)
