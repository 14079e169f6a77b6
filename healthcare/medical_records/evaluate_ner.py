"""How well entities are found in published texts: whole marks, same characters and same label."""

from __future__ import annotations

import numpy as np

from common.evaluation.metrics import interval
from common.evaluation.report import Metric
from common.text.gazetteer import Gazetteer
from common.text.tags import agreement, span_scores
from healthcare.medical_records.ner import Finder, units_of
from healthcare.medical_records.ner_data import Marked

REPEATS = 1000


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


def score(counts: np.ndarray, seed: int = 0) -> dict[str, Metric]:
    """Metrics of `agreement`'s counts int64 (documents, 3); documents are drawn for the intervals."""
    drawn = np.random.default_rng(seed).integers(0, len(counts), (REPEATS, len(counts)))
    draws = [span_scores(counts[rows]) for rows in drawn]
    found = {}
    for name, value in span_scores(counts).items():
        low, high = interval(value, [draw[name] for draw in draws])
        found[name] = Metric(value=value, low=low, high=high, n=int(counts[:, 1].sum()))
    return found
