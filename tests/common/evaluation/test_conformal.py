from __future__ import annotations

import numpy as np
import pytest

from common.errors import UsageError
from common.evaluation.conformal import lowest_rate, threshold_for


def test_the_threshold_is_the_textbook_order_statistic():
    scores = np.arange(1.0, 100.0)  # 99 scores: (99 + 1) * 0.95 = rank 95
    assert threshold_for(scores, 0.05) == 95
    assert threshold_for(scores, 0.01) == 99
    assert threshold_for(scores[::-1], 0.5) == 50


def test_the_promise_holds_on_new_parts_of_any_distribution():
    rng = np.random.default_rng(0)
    for rate in (0.05, 0.2):
        alarms = []
        for _ in range(2000):
            scores = rng.standard_cauchy(61)
            alarms.append(scores[60] > threshold_for(scores[:60], rate))
        assert np.mean(alarms) < rate + 3 * np.sqrt(rate / 2000)


def test_too_few_parts_promise_nothing_and_say_what_they_can():
    with pytest.raises(UsageError, match=r"18 good parts cannot promise .* got 0.05, expected at least 0.0526"):
        threshold_for(np.arange(18.0), 0.05)
    assert threshold_for(np.arange(19.0), 0.05) == 18
    assert lowest_rate(19) == 0.05
