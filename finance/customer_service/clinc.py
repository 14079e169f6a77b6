"""CLINC150: how often a request in scope is answered right, and one out of scope refused, by a single threshold.

All of the training and validation parts is learnt from. The threshold needs scores of rows out of scope by who has not
learnt from them, nor from any that says nearly the same: of least squares these are exact, of tuned encoders each is
the one of three that had a third of such groups left out.
"""

from __future__ import annotations

import time

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.stats import beta

from common.evaluation.report import Metric, Report, Seconds
from finance.customer_service.config import Config
from finance.customer_service.data import CLINC, Utterances, load, load_test, published
from finance.customer_service.evaluate import baseline, majority, report_of, share
from finance.customer_service.head import Head, tuned
from finance.customer_service.model import OPINION, Classifier, fit_kernel
from finance.customer_service.space import Space, frozen

RECALL, SURE = 0.88, 0.95
"""Of what is out of scope, so much shall be refused, and so sure shall one be of it after the rows at hand."""
HEADS = 3
ALIKE = 0.7
"""Distance of sentence vectors (0 to sqrt 2) within which rows say nearly the same."""


def clinc(config: Config) -> Report:
    """The row of the published test part; published models learn from train alone. The frozen encoder stands beside."""
    started = time.perf_counter()
    corpus, test = load(CLINC), load_test(CLINC)
    learnt = corpus.train
    loaded = time.perf_counter()
    texts = learnt.text.tolist()
    space = Space.fit(frozen(config.backbone), texts, config.size)
    model, squares = fit_kernel(texts, learnt.intent, config.grams, config.kernel, space)
    groups = alike(learnt, space)
    alone = squares.without(groups)
    heads, told = heads_of(config, learnt, groups)
    trained = time.perf_counter()
    asked = test.text.tolist()
    own = model.scores(asked)
    joint = own + np.mean([head(asked) for head in heads], axis=0) / OPINION
    metrics = judged(model, joint, threshold(margin(alone + told / OPINION)), test)
    frozen_only = judged(model, own, threshold(margin(alone)), test)
    found = baseline(learnt, test, config.seed)
    return report_of(
        dataset=CLINC,
        protocol="full",
        simulated=False,
        data_sha256=corpus.sha256,
        metrics=metrics,
        floor={"in_scope_accuracy": majority(learnt, test), "oos_recall": 0.0},
        baselines={
            "TF-IDF + linear SVM": {"in_scope_accuracy": found["accuracy"], "oos_recall": found["oos_recall"]},
            "frozen encoder": {name: metric.value for name, metric in frozen_only.items()},
        },
        published=published(CLINC, "full"),
        seconds=Seconds(data=loaded - started, train=trained - loaded, evaluate=time.perf_counter() - trained),
    )


def heads_of(config: Config, learnt: Utterances, groups: list[np.ndarray]) -> tuple[list[Head], np.ndarray]:
    """Tuned encoders, each without a third of the groups; log-probabilities of the groups' rows by who left them out.

    One after the other (rows of groups, classes).
    """
    part = np.random.default_rng(config.seed).permutation(len(groups)) % HEADS
    heads: list[Head] = []
    told: dict[int, np.ndarray] = {}
    for number in range(HEADS):
        left = [group for group, own in zip(groups, part, strict=True) if own == number]
        kept = np.delete(np.arange(len(learnt)), np.concatenate(left))
        settings = config.model_copy(update={"seed": config.seed + number})
        heads.append(tuned(settings, learnt.text[kept].tolist(), learnt.intent[kept]))
        rows = np.concatenate(left)
        told |= dict(zip(rows, heads[-1](learnt.text[rows].tolist()), strict=True))
    return heads, np.stack([told[row] for group in groups for row in group])


def alike(learnt: Utterances, space: Space) -> list[np.ndarray]:
    """Positions of what is out of scope, those that say nearly the same together."""
    out = np.flatnonzero(~learnt.known)
    cluster = fcluster(linkage(space(learnt.text[out].tolist()), "average"), ALIKE, "distance")
    return [out[cluster == number] for number in np.unique(cluster)]


def margin(scores: np.ndarray) -> np.ndarray:
    """By how much the best intent is above out of scope, the first class: float (rows,)."""
    found: np.ndarray = scores[:, 1:].max(axis=1) - scores[:, 0]
    return found


def threshold(out: np.ndarray) -> float:
    """The least of margins (rows,) out of scope, at or below which `RECALL` of all such rows lie, with `SURE`.

    A one-sided bound on a quantile by order statistics (Clopper & Pearson, 1934). The greatest where rows are too few.
    """
    count = np.arange(1, len(out) + 1)
    sure = beta.ppf(1 - SURE, count, len(out) - count + 1) >= RECALL
    place = int(np.argmax(sure)) if sure.any() else len(out) - 1
    return float(np.sort(out)[place])


def judged(model: Classifier, scores: np.ndarray, limit: float, test: Utterances) -> dict[str, Metric]:
    """The metrics of scores (rows, classes) of the test part."""
    best, kept = np.array(model.intents, dtype=object)[scores[:, 1:].argmax(axis=1)], margin(scores) > limit
    rows = np.arange(len(test))
    return {
        "in_scope_accuracy": share(kept & (best == test.intent), test.known, rows),
        "oos_recall": share(~kept, ~test.known, rows),
        "accuracy_unrefused": share(best == test.intent, test.known, rows),
    }
