from __future__ import annotations

import numpy as np
import pytest

from common.errors import DataError
from common.evaluation.fairness import group_report


def people(*cells: tuple[str, int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(group, y, decision, how many) to arrays."""
    rows = [(group, y, decision) for group, y, decision, count in cells for _ in range(count)]
    groups, y, decision = zip(*rows, strict=True)
    return np.array(y), np.array(decision), np.array(groups)


# a: 60 of 100 get the favourable 0, b: 30 of 100. TPR a 15/20, b 36/40; FPR a 25/80, b 34/60.
Y, DECISION, GROUPS = people(
    ("a", 1, 1, 15), ("a", 1, 0, 5), ("a", 0, 1, 25), ("a", 0, 0, 55),
    ("b", 1, 1, 36), ("b", 1, 0, 4), ("b", 0, 1, 34), ("b", 0, 0, 26),
)  # fmt: skip


def test_rates_by_hand() -> None:
    report = group_report(Y, DECISION, DECISION * 0.5 + 0.1, GROUPS, favourable=0)
    a, b = report.groups
    assert (a.group, a.n, a.base_rate, a.selection_rate.value) == ("a", 100, 0.2, 0.6)
    assert (b.tpr, b.fpr) == (pytest.approx(36 / 40), pytest.approx(34 / 60))
    assert a.predicted == pytest.approx(0.4 * 0.5 + 0.1)
    assert a.auc == pytest.approx(0.5 + (15 / 20 - 25 / 80) / 2)
    assert a.selection_rate.low < 0.6 < a.selection_rate.high
    summary = report.summary
    assert summary.demographic_parity_ratio is not None
    assert summary.demographic_parity_difference is not None
    assert summary.equalized_odds_difference is not None
    assert summary.demographic_parity_ratio.value == pytest.approx(0.5)
    assert summary.demographic_parity_difference.value == pytest.approx(0.3)
    assert summary.equalized_odds_difference.value == pytest.approx(34 / 60 - 25 / 80)
    assert summary.demographic_parity_ratio.low < 0.5 < summary.demographic_parity_ratio.high
    assert summary.four_fifths is False


def test_which_decision_is_favourable_matters() -> None:
    report = group_report(Y, DECISION, DECISION, GROUPS, favourable=1)
    assert report.summary.demographic_parity_ratio is not None
    assert report.summary.demographic_parity_ratio.value == pytest.approx(0.4 / 0.7)
    assert report.groups[0].tpr == 15 / 20  # TPR is of the decision, whoever likes it


def test_small_groups_are_flagged_and_not_compared() -> None:
    y, decision, groups = people(("tiny", 0, 1, 5))
    report = group_report(
        np.append(Y, y), np.append(DECISION, decision), np.append(DECISION, decision), np.append(GROUPS, groups),
        favourable=0,
    )  # fmt: skip
    tiny = report.groups[-1]
    assert (tiny.group, tiny.n, tiny.small, tiny.tpr, tiny.auc) == ("tiny", 5, True, None, None)
    assert (report.summary.compared, report.summary.left_out) == (["a", "b"], ["tiny"])
    assert report.summary.demographic_parity_ratio is not None
    assert report.summary.demographic_parity_ratio.value == pytest.approx(0.5)


def test_one_group_alone_has_nothing_to_compare() -> None:
    summary = group_report(Y, DECISION, DECISION, np.full(len(Y), "all"), favourable=0).summary
    assert summary.demographic_parity_ratio is None
    assert summary.four_fifths is None


def test_groups_nobody_is_selected_from() -> None:
    y, decision, groups = people(("a", 0, 1, 40), ("b", 1, 1, 40))
    report = group_report(y, decision, decision, groups, favourable=0)
    assert report.model_dump_json()  # no NaN, no warning
    assert [row.selection_rate.value for row in report.groups] == [0, 0]
    summary = report.summary
    assert summary.demographic_parity_difference is not None
    assert summary.demographic_parity_difference.value == 0
    assert (summary.demographic_parity_ratio, summary.equalized_odds_difference, summary.four_fifths) == (None,) * 3


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="differ in length"):
        group_report([0, 1], [0, 1], [0.1, 0.2], ["a"], favourable=0)
