"""How well entities are found in published texts: whole marks, same characters and same label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from common.evaluation.metrics import interval
from common.evaluation.report import Metric
from common.text.gazetteer import Gazetteer
from common.text.tags import agreement, span_scores
from healthcare.medical_records.ner import Finder, Recipe, train_ner, units_of
from healthcare.medical_records.ner_data import Marked

REPEATS = 1000
GAIN_ENCODER = {"width": 128, "layers": 3}
GAIN_PRETRAINING = {"optimisation": {"epochs": 12, "batch": 16, "learning_rate": 2e-3, "largest_gradient": 1.0}}
GAIN_TAGGING = {
    "dropout": 0.4,
    "forget": 0.2,
    "optimisation": {"epochs": 20, "batch": 16, "learning_rate": 4e-3, "backbone_rate": 0.05, "largest_gradient": 1.0},
}
"""What `pretraining_gain` compares: minutes on one core for a thousand notes."""


def evaluate_ner(test: Marked, finder: Finder) -> dict[str, Metric]:
    """Precision, recall and F1 of the marks in test texts, with 95 % intervals over documents.

    Protocol: micro-average over all marks of the corpus' own labels; a mark counts when first and last character and
    label are those of the corpus (exact span). Marks of the corpus that no model can give (they overlap another) count
    as missed. The test texts were read by nothing else; epochs, sizes and thresholds were chosen on the development
    part.
    """
    return score(agreement(test.marks, finder.marks(test.texts)))


def dictionary_ner(train: Marked, test: Marked) -> dict[str, Metric]:
    """The same for the longest matches of the phrases marked in `train`: the baseline."""
    gazetteer = Gazetteer(units_of(train.texts), train.labels, longest=40).fit(train.texts, train.marks)
    return score(agreement(test.marks, [gazetteer.longest_marks(text) for text in test.texts]))


def pretraining_gain(train: Marked, test: Marked, *, labelled: int = 100, seed: int = 0) -> dict[str, Metric]:
    """F1 on `test` of a small encoder from nothing, `without` and `with` pre-training on the user's own notes.

    The notes are the texts of all of `train`; only the first `labelled` of them have their marks, a fifth of which
    choose the epoch. Both are fine-tuned alike. Dictionaries and vectors are left out: they would learn from the notes
    by another way.
    """
    from common.text.onnx_tagger import OnnxTagger

    first = labelled * 4 // 5
    known, chosen, rest = train.part(0, first), train.part(first, labelled), train.part(labelled, len(train))
    notes = replace(rest, marks=[[] for _ in rest.marks])
    found = {}
    for name, masking in (("without", None), ("with", GAIN_PRETRAINING)):
        recipe = Recipe(small=GAIN_ENCODER, pretraining=masking, tagging=GAIN_TAGGING)
        graph, state = train_ner(known, chosen, recipe, seed=seed, others=[notes])
        found[name] = evaluate_ner(test, OnnxTagger(graph, state))["f1"]
    return found


def score(counts: np.ndarray, seed: int = 0) -> dict[str, Metric]:
    """Metrics of `agreement`'s counts int64 (documents, 3); documents are drawn for the intervals."""
    drawn = np.random.default_rng(seed).integers(0, len(counts), (REPEATS, len(counts)))
    draws = [span_scores(counts[rows]) for rows in drawn]
    found = {}
    for name, value in span_scores(counts).items():
        low, high = interval(value, [draw[name] for draw in draws])
        found[name] = Metric(value=value, low=low, high=high, n=int(counts[:, 1].sum()))
    return found
