"""The tagger: learns from few texts, goes through JSON and arrays, and reads long texts in windows; its evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import SchemaError, UsageError
from common.text.identifiers import fold
from healthcare.medical_records.deid.data import FILE, part_of, read_presidio
from healthcare.medical_records.deid.deidentify import Deidentifier
from healthcare.medical_records.deid.evaluate_deid import evaluate_deid, measured
from healthcare.medical_records.deid.features import Classes, shape, tokens
from healthcare.medical_records.deid.fit_tagger import Fitting, fit_tagger, refilled
from healthcare.medical_records.deid.simulator import held_out, simulate
from healthcare.medical_records.deid.tagger import Tagger

TINY = Fitting(epochs=2, clusters=(0, 0))


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    return fit_tagger(simulate(0, 4, part="train"), TINY)


def test_it_finds_what_rules_do_not(tagger: Tagger) -> None:
    texts = simulate(1, 2, part="test")
    rules, both = measured(Deidentifier(), texts), measured(Deidentifier(tagger), texts)
    assert both["recall"].value > rules["recall"].value
    assert both["recall_whole"].value > rules["recall_whole"].value
    assert both["precision"].value > 0.8
    assert both["f1"].low <= both["f1"].value <= both["f1"].high


def test_kept_as_arrays_and_json(tagger: Tagger) -> None:
    arrays, state = tagger.state()
    again = Tagger.of(arrays, json.loads(json.dumps(state)))
    for one in simulate(2, 1, part="test"):
        assert Deidentifier(again).find(one.text) == Deidentifier(tagger).find(one.text)


def test_the_same_texts_the_same_tagger(tagger: Tagger) -> None:
    again = fit_tagger(simulate(0, 4, part="train"), TINY)
    assert again.vocabulary == tagger.vocabulary
    np.testing.assert_array_equal(again.weights, tagger.weights)


def test_a_long_text_is_read_in_windows_without_a_seam(tagger: Tagger) -> None:
    line = "Mother Grace Suzuki, age 72, has breast cancer; no fever was seen in the morning.\n"
    text = line * 120
    found = [(kind, start % len(line), end % len(line)) for kind, start, end in tagger.tag(fold(text))]
    assert len(set(found[20:-20])) <= len(set(tagger.tag(fold(line * 3)))) + 1
    assert len(found) >= 118


def test_to_be_surer_finds_more(tagger: Tagger) -> None:
    bold = Tagger.of(*_with(tagger, sure=0.999))
    texts = [one.text for one in simulate(4, 1, part="test")]
    few, many = (sum(len(some.tag(fold(text))) for text in texts) for some in (tagger, bold))
    assert many > few


def test_words_of_medicine_are_not_masked_in_doubt(tagger: Tagger) -> None:
    text = "Patient presents with COPD and XQZV."
    doubtful = Tagger(tagger.vocabulary, tagger.weights * 0, tagger.transitions * 0, tagger.classes, 0.9)
    found = {text[start:end] for _, start, end in doubtful.tag(text)}
    assert any("XQZV" in one for one in found)
    assert not any("COPD" in one or "Patient" in one for one in found)


def _with(tagger: Tagger, **changes: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays, state = tagger.state()
    return arrays, state | changes


def test_tokens_and_what_they_look_like() -> None:
    text = "Mr. O'Neill, 42岁\n"
    made = tokens(text)
    assert [token.text for token in made] == ["Mr", ".", "O", "'", "Neill", ",", "42", "岁", "\n"]
    assert all(text[token.start : token.end] == token.text for token in made)
    assert [token.text for token in tokens("call 555-0123 now", [("phone", 5, 13)])] == ["call", "<phone>", "now"]
    assert [shape(word) for word in ("McDonald", "ABCDE", "12345", "<date>")] == ["XxXxx", "XX", "dd", "<date>"]
    listed = Classes({"city": ["New Haven"], "last": ["Haven"]}, {}).listed(["in", "new", "haven"])
    assert listed == [[], ["city"], ["city", "last"]]


def test_lines_of_the_test_part_are_not_in_training() -> None:
    train, test = ({one.template for one in simulate(0, 1, part=part)} for part in ("train", "test"))
    assert train.isdisjoint(test)
    assert all(held_out(line) for line in test)
    assert simulate(0, 2, part="train") == simulate(0, 2, part="train") != simulate(1, 2, part="train")


def rows() -> list[dict[str, Any]]:
    made = []
    for template in (f"line {number} of {{{{PERSON}}}}" for number in range(12)):
        text = template.replace("{{PERSON}}", "Ann Lee")
        start = text.index("Ann")
        span = {"entity_type": "PERSON", "entity_value": "Ann Lee", "start_position": start, "end_position": start + 7}
        made.append({"full_text": text, "masked": template, "spans": [span], "template_id": 1, "metadata": None})
    return made


def test_annotated_sentences_are_split_by_template_and_refilled(tmp_path: Path, tagger: Tagger) -> None:
    path = tmp_path / FILE
    path.write_text(json.dumps(rows()), encoding="utf-8")
    train, test = (read_presidio({FILE: path}, part=part) for part in ("train", "test"))
    assert len(train) + len(test) == 12
    assert train
    assert test
    assert {part_of(one.template) for one in test} == {"test"}
    again = refilled(train, 6, seed=0)
    assert len(again) == 6 * len(train)
    for one in again:
        (it,) = one.identifiers
        assert one.text[it.start : it.end] == it.text
    found = evaluate_deid(Deidentifier(tagger), {FILE: path}, variants=1)
    assert set(found) == {"template-split", "simulated-en", "simulated-zh"}
    assert "recall_mrn" in found["simulated-en"] | found["simulated-zh"]


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no texts"):
        fit_tagger([])
    path = tmp_path / FILE
    path.write_text('[{"full_text": 1}]')
    with pytest.raises(SchemaError, match="not the sentences of this set"):
        read_presidio({FILE: path}, part="train")
