from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from common.errors import DataError
from common.evaluation.stability import psi as stability_psi
from common.evaluation.stability import reference_histogram
from common.monitoring.bins import Layout
from common.monitoring.check import check_window
from common.monitoring.drift import benjamini_hochberg, chi_square, fisher, grouped_ks

GENERATOR = np.random.default_rng(1)
NORMAL = GENERATOR.normal(size=1000)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (NORMAL, NORMAL[:400] + 0.4),
        (NORMAL, [None, 1.0, "2.5", "text", float("nan"), True]),
        (np.where(NORMAL > 1, np.nan, NORMAL), NORMAL),
        (NORMAL > 0, [True, False, False, None]),
        (np.round(NORMAL), pd.Series([0, 1, None, 7], dtype="Int64")),
        (["x"] * 60 + ["y"] * 40, pd.Categorical(["x", "z", None])),
        ([f"id{i}" for i in range(100)], ["id1", "new", None]),
        (["1", "2"] * 20, [1, 2, "1", ["a", "list"], {"a": 1}]),
    ],
)
def test_psi_is_that_of_the_evaluation(before: Any, now: Any) -> None:
    reference = {"x": reference_histogram(before)}
    values = list(now) if isinstance(now, list) else now
    expected = stability_psi(reference["x"], pd.Series([str(v) if isinstance(v, list | dict) else v for v in values]))
    assert check_window(reference, {"x": values}).fields[0].psi == pytest.approx(expected)


def test_correction_is_that_of_scipy() -> None:
    for n in (1, 2, 50):
        p = GENERATOR.random(n) ** 3
        assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))


def test_fisher_is_that_of_scipy() -> None:
    for hits, n, before, m in ((3, 200, 0, 600), (30, 200, 20, 600), (1, 5, 1, 3), (50, 400, 100, 300)):
        exact = stats.fisher_exact([[hits, n - hits], [before, m - before]], alternative="greater").pvalue
        assert fisher(hits, n, before, m) == pytest.approx(exact)
    assert fisher(0, 100, 5, 100) == 1


def test_chi_square_is_that_of_scipy() -> None:
    before, now = np.array([300, 200, 100]), np.array([60, 70, 20])
    expected = stats.chi2_contingency([before, now], correction=False)
    assert chi_square(before, now) == pytest.approx((expected.statistic, expected.pvalue))


def test_rare_levels_are_tested_together() -> None:
    before, now = [900, 1, 1, 1, 1, 1, 1, 0], [890, 0, 0, 0, 0, 0, 0, 0]
    assert chi_square(before, now)[1] > 0.001  # six cells of one each would be no chi-square
    assert chi_square([1000, 0], [980, 20])[1] < 1e-4  # a level that is new
    assert chi_square([100, 0], [50, 0]) == (0.0, 1.0)
    assert chi_square([100, 20], [0, 0]) == (0.0, 1.0)


def test_grouped_ks_is_never_above_the_plain_one_and_right_at_one_cut() -> None:
    before, now = np.full(10, 100.0), np.array([130, 120, 110, 100, 100, 100, 90, 90, 80, 80.0])
    gap, p = grouped_ks(before, now)
    assert gap == pytest.approx(0.06)
    assert p < stats.kstwobign.sf(gap * np.sqrt(500))
    gap, p = grouped_ks([500, 500], [560, 440])
    assert p == pytest.approx(2 * stats.norm.sf(0.06 / np.sqrt(0.53 * 0.47 / 500)), rel=1e-6)
    assert grouped_ks([10, 10], [0, 0]) == (0.0, 1.0)
    assert grouped_ks([10, 10], [10, 10]) == (0.0, 1.0)


@pytest.mark.parametrize(
    "histogram", [{}, {"edges": [1.0], "shares": [1.0], "missing": 0, "n": 5}, {"levels": [], "shares": [0.0], "n": 5}]
)
def test_a_broken_reference_is_named(histogram: dict[str, object]) -> None:
    with pytest.raises(DataError, match="field 'age'"):
        Layout({"age": histogram})


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        check_window({"x": reference_histogram(NORMAL)}, {"x": []})
