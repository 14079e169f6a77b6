from __future__ import annotations

import json
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest

from common.errors import SchemaError
from common.text.tags import Mark
from healthcare.medical_records.ner import Recipe, find_entities, train_ner, units_of
from healthcare.medical_records.ner_data import Marked, read_chinese, read_pubtator
from healthcare.medical_records.spans import Kind

PUBTATOR = """1|t|Ataxia and the ATM gene.
1|a|We saw breast cancer.
1\t0\t6\tAtaxia\tSpecificDisease\tD001259
1\t32\t45\tbreast cancer\tSpecificDisease\tD001943

1|t|Ataxia and the ATM gene.
1|a|We saw it.

2|t|Nothing.
2|a|
"""
CHINESE = [
    {"text": "患者头痛,口服阿司匹林", "mention_data": [{"mention": "头痛", "label": "症状", "offset": "2"}]},
    {"text": "嘴里起泡", "mention_data": [{"mention": "泡", "type": "symptom", "offset": "2"}]},
]


def test_pubtator_is_title_and_abstract_and_no_document_twice():
    found = read_pubtator(PUBTATOR)
    assert found.ids == ["1", "2"]
    assert [found.texts[0][mark.start : mark.end] for mark in found.marks[0]] == ["Ataxia", "breast cancer"]
    assert found.texts[1] == "Nothing. "
    assert found.labels == ("disease",)
    with pytest.raises(SchemaError, match="PMID 2: a mention outside of its text: got 3 to 90"):
        read_pubtator(PUBTATOR + "2\t3\t90\tx\tModifier\tD1\n")


def test_chinese_records_have_both_forms_and_a_wrong_offset_is_put_right():
    found = read_chinese("\n".join(json.dumps(row) for row in CHINESE))
    assert found.marks == [[Mark(2, 4, "症状")], [Mark(3, 4, "symptom")]]
    lost = {"text": "嘴", "mention_data": [{"mention": "泡", "type": "symptom", "offset": "0"}]}
    assert read_chinese(json.dumps(lost)).marks == [[]]
    with pytest.raises(SchemaError, match="line 2: not a record with text and mention_data"):
        read_chinese(json.dumps(CHINESE[0]) + '\n{"text": "x"}')


def test_labels_that_are_no_entities_are_left_out():
    class Finder:
        def marks(self, texts):
            return [[Mark(0, 2, "症状"), Mark(2, 4, "crowd")] for _ in texts]

    ((found,),) = find_entities(["头痛儿童"], Finder())
    assert (found.kind, found.text, found.assertion, found.codes) == ("symptom", "头痛", None, ())


@pytest.mark.parametrize("kind", get_args(Kind))
def test_our_own_kinds_are_labels_too(kind):
    class Finder:
        def marks(self, texts):
            return [[Mark(0, 4, kind)] for _ in texts]

    assert [entity.kind for entity in find_entities(["knee"], Finder())[0]] == [kind]


def test_units_are_characters_for_chinese():
    assert units_of(["患者 CD117(+),头痛"]) == "characters"
    assert units_of(["Patient with headache"]) == "words"


@pytest.fixture(scope="module")
def corpus():
    draw = np.random.default_rng(0)
    parts = []
    for _ in range(2):
        texts, marks = [], []
        for drug, place in draw.choice(["阿司匹林", "二甲双胍", "胰岛素", "头孢"], (40, 2)):
            texts.append(f"口服{drug}后，{place}科就诊。")
            marks.append([Mark(2, 2 + len(drug), "药物")])
        parts.append(Marked([str(at) for at in range(40)], texts, marks))
    return parts


def test_a_recipe_is_trained_and_served_and_measured(corpus):
    pytest.importorskip("torch", exc_type=ImportError)
    from common.text.onnx_tagger import OnnxTagger
    from healthcare.medical_records.evaluate_ner import dictionary_ner, evaluate_ner

    train, valid = corpus
    tagging = {"unit": 16, "form": 8, "hidden": 16, "dropout": 0.1}
    tagging["optimisation"] = {"epochs": 8, "batch": 8, "learning_rate": 2e-2}
    graph, state = train_ner(train, valid, Recipe(tagging=tagging, members=2), seed=1)
    finder = OnnxTagger(graph, json.loads(json.dumps(state)))
    found, floor = evaluate_ner(valid, finder)["f1"], dictionary_ner(train, valid)["f1"]
    # The dictionary also takes the drug that names a department.
    assert floor.value == pytest.approx(2 / 3, abs=0.01)
    assert found.value > 0.9
    assert found.low <= found.value <= found.high
    assert found.n == 40


def test_texts_without_marks_and_other_labels_help(corpus):
    pytest.importorskip("torch", exc_type=ImportError)
    from common.text.onnx_tagger import OnnxTagger

    train, valid = (part.part(0, 16) for part in corpus)
    other = Marked(["1"], ["阿司匹林是药，头孢也是。"], [[Mark(0, 4, "drug"), Mark(7, 9, "drug")]])
    once = {"epochs": 1, "batch": 8, "learning_rate": 2e-2}
    recipe = Recipe(
        small={"width": 16, "layers": 1, "heads": 2},
        pretraining={"optimisation": once},
        vectors=True,
        memory=[3],
        same=True,
        further=[{"pretraining": None}],
        tagging={"unit": 16, "form": 8, "hidden": 16, "optimisation": {**once, "epochs": 6}},
    )
    graph, state = train_ner(train, valid, recipe, seed=1, others=[other])
    finder = OnnxTagger(graph, json.loads(json.dumps(state)))
    assert finder.reader.same
    assert len(graph) > 1.8 * len(train_ner(train, valid, recipe.model_copy(update={"further": []}), seed=1)[0])
    assert finder.reader.tokens.size > 20  # characters of both
    assert finder.reader.columns("头孢")[0, len(finder.reader.columns.sizes) - 2] > 0
    assert {mark.label for own in finder.marks(valid.texts) for mark in own} == {"药物"}


def test_pretraining_is_compared_at_the_same_budget(corpus, monkeypatch):
    pytest.importorskip("torch", exc_type=ImportError)
    from healthcare.medical_records import evaluate_ner

    seen = []

    def train(known, chosen, recipe, *, seed, others):
        seen.append((known.ids, chosen.ids, recipe.pretraining is not None, others[0].texts, recipe.tagging, seed))
        return recipe.pretraining, {}

    class Finder:
        def __init__(self, graph, state):
            self.right = graph is not None

        def marks(self, texts):
            return [own if self.right else [] for own in corpus[1].marks]

    monkeypatch.setattr(evaluate_ner, "train_ner", train)
    monkeypatch.setattr("common.text.onnx_tagger.OnnxTagger", Finder)
    found = evaluate_ner.pretraining_gain(*corpus, labelled=10, seed=3)
    assert (found["without"].value, found["with"].value) == (0, 1)
    ids = [str(at) for at in range(10)]
    notes = corpus[0].texts[10:]
    expected = [(ids[:8], ids[8:], told, notes, evaluate_ner.GAIN_TAGGING, 3) for told in (False, True)]
    assert seen == expected


def test_the_rooms_that_serve_import_nothing_heavy():
    code = (
        "import sys; import healthcare.medical_records.ner, common.text.onnx_tagger;"
        "print([name for name in ('torch', 'transformers', 'sklearn', 'pandas') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
