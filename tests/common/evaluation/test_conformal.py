from __future__ import annotations

import numpy as np
import pytest

from common.errors import UsageError
from common.evaluation.conformal import Calibration


def single(score: np.ndarray) -> Calibration:
    """Every score is of a part of its own."""
    return Calibration(score, np.arange(len(score)))


def test_the_threshold_of_single_pictures_is_the_textbook_order_statistic():
    scores = np.arange(1.0, 100.0)  # 99 scores: (99 + 1) * 0.95 = rank 95
    calibration = single(scores)
    assert calibration.threshold(0.05) == 95
    assert calibration.threshold(0.01) == 99
    assert single(scores[::-1]).threshold(0.5) == 50
    assert single(np.arange(1.0, 101.0)).threshold(0.0099009901) == 100


def test_many_pictures_of_one_part_weigh_as_much_as_one():
    calibration = Calibration(np.array([*np.arange(1.0, 20.0), *[100.0] * 5]), np.array([*range(19), *[19] * 5]))
    assert calibration.parts == 20
    assert calibration.threshold(1 / 21) == 100
    assert calibration.threshold(2 / 21) == 19
    assert calibration.weight.sum() == pytest.approx(20)


def test_the_promise_holds_on_new_parts_of_any_distribution():
    rng = np.random.default_rng(0)
    for rate in (0.05, 0.2):
        alarms = []
        for _ in range(2000):
            scores = rng.standard_cauchy(61)
            alarms.append(scores[60] > single(scores[:60]).threshold(rate))
        assert np.mean(alarms) < rate + 3 * np.sqrt(rate / 2000)


def test_the_promise_holds_for_new_parts_where_counting_pictures_would_break_it():
    rng, rate, repeats, parts = np.random.default_rng(1), 0.1, 3000, 19
    alarms, naive = [], []
    for _ in range(repeats):
        # Bad parts are photographed less often: parts differ much, pictures of one part hardly.
        level = rng.standard_normal(parts + 1)
        count = np.where(level > 0.5, 1, 6)
        part = np.repeat(np.arange(parts), count[:parts])
        scores, new = level[part] + 0.1 * rng.standard_normal(len(part)), level[parts] + 0.1 * rng.standard_normal()
        alarms.append(new > Calibration(scores, part).threshold(rate))
        naive.append(new > single(scores).threshold(rate))
    noise = 3 * np.sqrt(rate / repeats)
    assert np.mean(alarms) < rate + noise
    assert np.mean(naive) > rate + noise


def test_a_p_value_is_the_smallest_promise_with_which_a_score_is_found():
    rng = np.random.default_rng(2)
    calibration = Calibration(rng.standard_normal(80), np.repeat(np.arange(20), 4))
    for score in rng.standard_normal(20) * 2:
        rate = calibration.p_value(score)
        if rate < 1:
            assert calibration.threshold(rate) < score
        if rate > calibration.lowest_rate + 1e-6:
            assert calibration.threshold(rate - 1e-6) >= score


def test_too_few_parts_promise_nothing_and_say_what_they_can():
    with pytest.raises(UsageError, match=r"18 good parts cannot promise .* got 0.05, expected at least 0.0526"):
        single(np.arange(18.0)).threshold(0.05)
    enough = single(np.arange(19.0))
    assert enough.threshold(0.05) == 18
    assert enough.lowest_rate == 0.05
