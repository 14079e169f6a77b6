from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.errors import DatasetUnavailable, SchemaError
from healthcare.medical_records.config import PRESETS, PUBLISHED, Config
from healthcare.medical_records.data import corpora, dictionary, identified, load, own, published
from healthcare.medical_records.deid.simulator import held_out
from healthcare.medical_records.ner_data import Marked
from healthcare.medical_records.simulator import simulate
from healthcare.medical_records.spans import ICD10


def words(notes: Marked) -> set[str]:
    return {text[m.start : m.end].lower() for text, own in zip(notes.texts, notes.marks, strict=True) for m in own}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_simulated_test_notes_share_no_term_with_the_others(language):
    train, test = (simulate(language, 60, 0, part).marked for part in ("train", "test"))
    assert words(test)
    assert not words(train) & words(test)
    assert all(0 <= m.start < m.end <= len(t) for t, own in zip(train.texts, train.marks, strict=True) for m in own)


def test_the_same_seed_gives_the_same_notes_and_another_gives_others():
    first, again, other = (simulate("en", 5, seed, "train") for seed in (0, 0, 1))
    assert first == again
    assert first.marked.texts != other.marked.texts


def test_denials_of_simulated_notes_are_what_the_lines_say():
    notes = simulate("en", 80, 0, "train")
    said = [
        (text[: mark.start].rsplit("\n")[-1], denied)
        for text, marks, own in zip(notes.marked.texts, notes.marked.marks, notes.denied, strict=True)
        for mark, denied in zip(marks, own, strict=True)
    ]
    assert any(denied for _, denied in said)
    assert all(denied for before, denied in said if before.endswith(("There is no evidence of ", "e denies ")))
    assert not any(denied for before, denied in said if before.endswith(("other had ", "Complains of ")))


def test_no_line_that_is_held_out_teaches_the_tagger_of_identifiers():
    texts = identified(Config())
    assert {one.language for one in texts} == {"en", "zh"}
    clinical = [one for one in texts if one.identifiers and one.template.startswith(("Patient", "患者", "姓名"))]
    assert clinical
    assert not any(held_out(one.template) for one in clinical)


def test_the_dictionary_of_the_sample_has_codes_without_a_download():
    found = dictionary(Config()).find("hypertension, fever, 高血压")
    assert [entity.kind for entity in found] == ["disease", "symptom", "disease"]
    assert found[0].codes
    assert found[0].codes[0].system != ICD10


def test_own_notes_are_split_by_language_and_never_twice(tmp_path: Path):
    lines = [
        {"text": f"Note {i}: pain.", "entities": [{"start": 6 + len(str(i)), "end": 12, "kind": "symptom"}]}
        for i in range(10, 60)
    ] + [{"text": f"第{i}次胸痛。", "entities": []} for i in range(50)]
    file = tmp_path / "own.jsonl"
    file.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n", encoding="utf-8")
    found = own(str(file))
    assert set(found) == {"en", "zh"}
    for corpus, test in found.values():
        parts = [set(part.texts) for part in (corpus.train, corpus.valid, test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 50
    assert corpora(Config(dataset=str(file)))["en"].train == found["en"][0].train


def test_notes_that_nobody_marked_are_in_no_part(tmp_path: Path):
    lines = [{"text": f"Note {i}: pain.", "entities": []} for i in range(50)]
    lines += [{"text": f"Letter {i}: fever.", "entities": None} for i in range(20)]
    file = tmp_path / "own.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    corpus, test = own(str(file))["en"]
    assert sum(map(len, (corpus.train, corpus.valid, test))) == 50
    assert [other.texts for other in corpus.others] == [[f"Letter {i}: fever." for i in range(20)]]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2: not a note with its entities"),
        ('{"text": "x"}', "line 2: not a note with its entities: got 'entities'"),
        ('{"text": "x", "entities": [{"start": 0, "end": 5, "kind": "drug"}]}', "got drug at 0 to 5"),
        ('{"text": "x", "entities": [{"start": 0, "end": 1, "kind": "mood"}]}', "got mood at 0 to 1, expected one of"),
    ],
)
def test_a_bad_line_of_own_notes_is_named(tmp_path: Path, line: str, told: str):
    file = tmp_path / "own.jsonl"
    file.write_text('{"text": "fine", "entities": []}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(SchemaError) as error:
        own(str(file))
    assert told in str(error.value)


def test_a_file_that_is_not_there_or_has_too_few_notes_is_said(tmp_path: Path):
    with pytest.raises(DatasetUnavailable, match=r"nowhere\.jsonl"):
        corpora(Config(dataset=str(tmp_path / "nowhere.jsonl")))
    file = tmp_path / "own.jsonl"
    file.write_text('{"text": "one note", "entities": []}\n', encoding="utf-8")
    with pytest.raises(SchemaError, match="too few notes to split"):
        own(str(file))


def test_published_corpora_are_as_their_cards_say(mirror_of, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("ESPALIER_DATA_MIRROR", str(mirror_of("ncbi-disease")))
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    from common.config import settings

    settings.cache_clear()
    try:
        assert [len(part) for part in (load("ncbi-disease").train, load("ncbi-disease").valid)] == [592, 100]
        assert [len(part) for part in (load("cehrner").train, load("cehrner").valid)] == [914, 44]
        assert load("cmedqaner").train.labels[0] == "body"
        assert set(corpora(Config.model_validate(PRESETS["reference"]))) == {"en", "zh"}
    finally:
        settings.cache_clear()


def test_published_numbers_of_the_chinese_corpora_are_told_apart():
    assert {entry.value for entry in published("cehrner", "test")} >= {0.882, 0.9}
    assert {entry.value for entry in published("cmedqaner", "test")} >= {0.863, 0.881}
    assert {entry.protocol for entry in published("cmedqaner", "test")} == {"test"}
    assert Config.model_validate(PRESETS["reference"]).dataset == PUBLISHED
