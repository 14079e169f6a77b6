from __future__ import annotations

import json

import numpy as np
import pytest

from common.config import settings
from common.errors import DatasetUnavailable, SchemaError
from common.text.ngrams import normalised
from finance.customer_service.data import BANKING, CLINC, as_tasks, load, load_test, tasks
from finance.customer_service.replies import name_of
from finance.customer_service.simulator import SIMULATED, phrases, simulate


@pytest.fixture
def real_data(mirror_of, tmp_path, monkeypatch):
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    monkeypatch.setenv("ESPALIER_DATA_MIRROR", str(mirror_of(BANKING)))
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_the_same_seed_says_the_same_and_another_seed_something_else():
    first = simulate(0, test=False)
    assert first == simulate(0, test=False)
    assert first != simulate(1, test=False)


def test_phrases_of_the_test_are_not_in_training_and_every_intent_is_in_both_languages():
    learnt, test = load(SIMULATED).train, load_test(SIMULATED)
    assert not set(learnt.group) & set(test.group)
    assert not {kind for kind in test.kind if kind} & {kind for kind in learnt.kind if kind}
    for data in (learnt, test):
        for language in ("en", "zh"):
            here = data.language == language
            assert set(data.intent[here & data.known]) == set(phrases()["intents"])
            assert {kind.split(".")[0] for kind in data.kind[here & ~data.known]} == {"near", "far"}


def test_nothing_is_left_unfilled_and_no_text_of_one_intent_is_of_another():
    said = simulate(3, test=False) + simulate(3, test=True)
    meant: dict[str, set[str]] = {}
    for one in said:
        assert one.text
        assert not any(mark in one.text for mark in "{}|()"), one.text
        meant.setdefault(normalised(one.text), set()).add(one.intent or one.kind)
    double = {text: names for text, names in meant.items() if len(names) > 1}
    assert len(double) <= len(meant) / 500, double  # slips of the fingers may make two phrases meet


def test_every_intent_has_a_name_in_both_languages_and_every_task_is_an_intent():
    for intent in phrases()["intents"]:
        assert name_of(intent, "zh") != intent
        assert "_" not in name_of(intent, "en")
    assert {task for some in tasks().values() for task in some.values()} <= set(phrases()["intents"])
    assert name_of("Refund_not_showing_up", "en") == "refund not showing up"


def test_published_parts_have_the_sizes_that_their_papers_say(real_data):
    learnt, test = load(BANKING).train, load_test(BANKING)
    assert (len(learnt), len(test)) == (10_003, 3_080)
    assert len(set(learnt.intent)) == len(set(test.intent)) == 77
    assert len(set(learnt.group)) == 9_999  # equal but for case and blanks: one group
    both = load(CLINC).train
    assert (both.known.sum(), (~both.known).sum()) == (18_000, 200)
    assert (~load_test(CLINC).known).sum() == 1_000
    mapped = as_tasks(BANKING, learnt)
    assert set(mapped.kind[~mapped.known]) >= {"near.age_limit", "near.top_up_failed"}
    assert set(mapped.intent[learnt.intent == "pin_blocked"]) == {"pin_change"}
    everything = as_tasks(CLINC, both)
    assert {kind.split(".")[0] for kind in everything.kind[~everything.known]} == {"near", "far"}
    intents = set(learnt.intent) | set(load(CLINC).train.intent)
    assert {own for some in tasks().values() for own in some} <= intents


def test_a_file_of_ones_own_is_read_split_and_told_its_language(tmp_path):
    lines = [f"where is parcel number {i},track" for i in range(20)] + [f"包裹{i}在哪里,track" for i in range(20)]
    lines += [f"send back item {i},return" for i in range(20)] + [
        "tell me a joke,oos",
        "Where is  PARCEL number 3,track",
    ]
    file = tmp_path / "own.csv"
    file.write_text("text,intent\n" + "\n".join(lines) + "\n", encoding="utf-8")
    learnt, test = load(str(file)).train, load_test(str(file))
    assert len(learnt) + len(test) == len(lines)
    assert 0.1 < len(test) / len(lines) < 0.3
    both = {normalised(text) for text in learnt.text} & {normalised(text) for text in test.text}
    assert not both
    everything = np.concatenate([learnt.language, test.language])
    assert sorted(set(everything)) == ["en", "zh"]
    assert "" in set(learnt.intent) | set(test.intent)

    other = tmp_path / "own.jsonl"
    other.write_text(
        "".join(json.dumps({"text": f"text {i}", "intent": "a"}) + "\n" for i in range(9)), encoding="utf-8"
    )
    assert len(load(str(other)).train) < 9


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("words,intent\nhello,a\n", "row 1"),
        ("text,intent\nhello,a\n🙂,a\n", "row 2"),
        ("text,intent\n,a\n", "row 1"),
    ],
)
def test_a_bad_row_is_named(tmp_path, content, told):
    file = tmp_path / "bad.csv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(SchemaError, match=told):
        load(str(file))


def test_an_unknown_set_is_refused_with_what_there_is():
    with pytest.raises(DatasetUnavailable, match="service-banking77"):
        load("service-banking78")
