from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, ks_2samp
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    precision_recall_curve,
    roc_auc_score,
)

from common.errors import DataError
from common.evaluation import metrics


def simulate(n: int, seed: int, step: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and their true probabilities; `step` rounds the probabilities so that they tie."""
    generator = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-(1.2 * generator.normal(size=n) - 1)))
    p = np.round(p / step) * step if step else p
    return (generator.random(n) < p).astype(int), p


@pytest.mark.parametrize("step", [0.0, 0.05], ids=["distinct", "tied"])
@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_scikit_learn_and_scipy(step: float, weighted: bool) -> None:
    y, p = simulate(800, 1, step)
    weight = np.random.default_rng(2).integers(0, 4, 800) if weighted else None
    assert metrics.auc(y, p, weight) == pytest.approx(roc_auc_score(y, p, sample_weight=weight))
    assert metrics.gini(y, p, weight) == pytest.approx(2 * roc_auc_score(y, p, sample_weight=weight) - 1)
    assert metrics.ap(y, p, weight) == pytest.approx(average_precision_score(y, p, sample_weight=weight))
    assert metrics.brier(y, p, weight) == pytest.approx(brier_score_loss(y, p, sample_weight=weight))
    decided = (p > 0.4).astype(int)
    assert metrics.f1(y, decided, weight) == pytest.approx(f1_score(y, decided, sample_weight=weight))
    precision, recall, _ = precision_recall_curve(y, p, sample_weight=weight)
    best = (2 * precision * recall / np.maximum(precision + recall, 1e-9)).max()
    assert metrics.f1_max(y, p, weight) == pytest.approx(best)
    copies = np.arange(800) if weight is None else np.repeat(np.arange(800), weight)
    positive, negative = p[copies][y[copies] == 1], p[copies][y[copies] == 0]
    assert metrics.ks(y, p, weight) == pytest.approx(ks_2samp(positive, negative).statistic)


@pytest.mark.parametrize("name", sorted(metrics.BINARY))
def test_a_weight_of_two_is_the_row_twice(name: str) -> None:
    y, p = simulate(300, 3)
    weight = np.random.default_rng(4).integers(0, 3, 300)
    copies = np.repeat(np.arange(300), weight)
    metric = metrics.BINARY[name]
    assert metric(y, p, weight) == pytest.approx(metric(y[copies], p[copies], None))


def test_f1_where_nothing_is_found_and_where_there_is_nothing_to_find() -> None:
    assert metrics.f1([0, 1, 1], [1, 0, 0]) == 0
    assert np.isnan(metrics.f1_max([0, 0], [0.2, 0.4]))


def test_ece_by_hand() -> None:
    p = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
    y = np.array([0, 1, 0, 0, 1, 0, 1, 1])
    # two bins of four: |1 - 1.0| and |3 - 3.0| of 8 rows; four bins of two: .7, .7, .3 and .3 of 8 rows
    assert metrics.ece(y, p, bins=2) == pytest.approx(0)
    assert metrics.ece(y, p, bins=4) == pytest.approx((0.7 + 0.7 + 0.3 + 0.3) / 8)


def test_ece_does_not_depend_on_the_order_of_tied_rows() -> None:
    y, p = simulate(500, 5, step=0.1)
    order = np.random.default_rng(6).permutation(500)
    assert metrics.ece(y[order], p[order]) == pytest.approx(metrics.ece(y, p))


def test_recalibration_finds_the_distortion() -> None:
    y, p = simulate(100_000, 7)
    distorted = 1 / (1 + np.exp(-(2 * np.log(p / (1 - p)) + 1)))
    # logit(true) = (logit(distorted) - 1) / 2
    assert metrics.calibration_slope(y, distorted) == pytest.approx(0.5, abs=0.02)
    assert metrics.calibration_intercept(y, distorted) == pytest.approx(-0.5, abs=0.02)
    assert np.isnan(metrics.calibration_slope(y, np.full(len(y), 0.3)))


def test_the_floor_knows_nothing_but_the_base_rate() -> None:
    floor = metrics.trivial_floor([1, 0, 0, 0])
    assert floor == {"auc": 0.5, "ks": 0, "gini": 0, "ap": 0.25, "brier": 0.1875, "ece": 0}


@pytest.mark.parametrize("name", ["auc", "ks", "ece"])
def test_intervals_cover(name: str) -> None:
    metric = metrics.BINARY[name]
    average = np.mean([metric(*simulate(400, seed), None) for seed in range(1000, 1200)])
    found = [metrics.bootstrap(*simulate(400, seed), metric, repeats=100) for seed in range(60)]
    covered = np.mean([one.low <= average <= one.high for one in found])
    assert covered >= 0.85
    assert np.mean([one.high - one.low for one in found]) < 0.2
    assert all(one.low <= one.value <= one.high and one.n == 400 for one in found)


def test_rows_of_one_group_are_drawn_together() -> None:
    y, p = simulate(400, 5)
    alone = metrics.bootstrap(y, p, metrics.auc, repeats=300)
    four = [np.repeat(values, 4) for values in (y, p, np.arange(400))]
    together = metrics.bootstrap(*four[:2], metrics.auc, repeats=300, groups=four[2])
    assert (together.value, together.low, together.high) == pytest.approx((alone.value, alone.low, alone.high))
    pretended = metrics.bootstrap(*four[:2], metrics.auc, repeats=300)
    assert pretended.high - pretended.low == pytest.approx((alone.high - alone.low) / 2, rel=0.25)


def test_a_perfect_score_stays_within_bounds() -> None:
    found = metrics.bootstrap([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], metrics.auc, repeats=50)
    assert (found.value, found.low, found.high) == (1, 1, 1)


def test_cv_interval_is_the_mean_of_the_folds() -> None:
    y, p = simulate(600, 8)
    generator = np.random.default_rng(9)
    halves = [half for _ in range(5) for half in np.split(generator.permutation(600), 2)]
    folds = [(rows, p[rows] + 0.05 * generator.normal(size=300)) for rows in halves]
    found = metrics.cv_interval(y, folds, metrics.auc, repeats=200)
    assert found.value == pytest.approx(np.mean([roc_auc_score(y[rows], scores) for rows, scores in folds]))
    assert found.n == 600
    # Five repeats test the same 600 people, so the interval is as wide as one repeat's, not narrower by root five.
    once = metrics.bootstrap(y, p, metrics.auc, repeats=200)
    assert found.high - found.low == pytest.approx(once.high - once.low, rel=0.25)
    assert found == metrics.cv_interval(y, folds, metrics.auc, repeats=200)


@pytest.mark.parametrize(
    ("y", "p", "part"),
    [
        ([0, 0, 0], [0.1, 0.2, 0.3], "both present"),
        ([0, 1, 2], [0.1, 0.2, 0.3], "labels must be 0 and 1"),
        ([0, 1, 1], [0.1, 0.2], "differ in length"),
        ([0, 1, 1], [0.1, float("nan"), 0.2], "not a finite number"),
    ],
)
def test_bad_input_is_one_sentence(y: list[int], p: list[float], part: str) -> None:
    with pytest.raises(DataError, match=part):
        metrics.bootstrap(y, p, metrics.auc)


def test_wilson_agrees_with_scipy() -> None:
    low, high = metrics.wilson([0, 7, 20], [20, 20, 20])
    expected = [binomtest(k, 20).proportion_ci(method="wilson") for k in (0, 7, 20)]
    assert low == pytest.approx([one.low for one in expected], abs=1e-6)
    assert high == pytest.approx([one.high for one in expected], abs=1e-6)
