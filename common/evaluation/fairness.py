"""Fairness between groups of people: what each group gets, and how far apart they are.

Point values come from fairlearn; the intervals are ours, because every summary is a function of each
group's four (label, decision) counts, and drawing those counts is the same bootstrap as drawing rows.
"""

from __future__ import annotations

import numpy as np
from fairlearn.metrics import demographic_parity_difference, demographic_parity_ratio, equalized_odds_difference
from numpy.typing import ArrayLike, NDArray

from common.config import Strict
from common.errors import DataError
from common.evaluation.metrics import auc, interval, wilson
from common.evaluation.report import Metric

SMALL = 30  # below this a rate's 95 % interval is wider than ±0.18: shown and flagged, not compared
FOUR_FIFTHS = 0.8  # 29 CFR 1607.4(D), Uniform Guidelines on Employee Selection Procedures


class GroupRow(Strict):
    """One group. Rates are fractions; a rate nobody in the group can have is None."""

    group: str
    n: int
    small: bool
    base_rate: float
    selection_rate: Metric
    tpr: float | None
    fpr: float | None
    auc: float | None
    predicted: float


class FairnessSummary(Strict):
    """The distance between the groups that are not small.

    All None when fewer than two are left; the ratio is None when nobody got the favourable decision, the odds
    difference when a group has only one label.
    """

    compared: list[str]
    left_out: list[str]
    demographic_parity_difference: Metric | None
    demographic_parity_ratio: Metric | None
    equalized_odds_difference: Metric | None
    four_fifths: bool | None


class FairnessReport(Strict):
    """Groups in alphabetical order, and their summary."""

    groups: list[GroupRow]
    summary: FairnessSummary


def group_report(
    y: ArrayLike,
    decision: ArrayLike,
    score: ArrayLike,
    groups: ArrayLike,
    *,
    favourable: int,
    repeats: int = 1000,
    seed: int = 0,
) -> FairnessReport:
    """Rates and calibration per group, and parity between groups.

    All inputs have shape (n,). `y` is 1 where the event happened, `score` its predicted probability,
    `decision` 1 where the system acted as if the event will happen; `favourable` says which decision is
    good for the person (0 in lending, where 1 declines). The selection rate is the share that got the
    favourable decision; TPR and FPR are of `decision` against `y`, as in the textbook. The four-fifths
    rule asks for a lowest-to-highest selection ratio of at least 0.8. Raises `DataError` on unequal lengths.
    """
    labels, acted = np.asarray(y, dtype=int), np.asarray(decision, dtype=int)
    scores, names = np.asarray(score, dtype=float), np.asarray(groups).astype(str)
    if not len(labels) == len(acted) == len(scores) == len(names):
        got = f"{len(labels)}, {len(acted)}, {len(scores)}, {len(names)}"
        raise DataError("y, decision, score and groups differ in length", got=got, expected="four equal lengths")
    present = sorted(set(names.tolist()))
    rows = [
        _row(name, labels[names == name], acted[names == name], scores[names == name], favourable) for name in present
    ]
    compared = [row.group for row in rows if not row.small]
    kept = np.isin(names, compared)
    summary = _summary(labels[kept], acted[kept], names[kept], compared, favourable, repeats, seed)
    left_out = [row.group for row in rows if row.small]
    return FairnessReport(groups=rows, summary=FairnessSummary(compared=compared, left_out=left_out, **summary))


def _row(name: str, y: NDArray[np.int_], decision: NDArray[np.int_], score: NDArray[np.float64], good: int) -> GroupRow:
    n, selected = len(y), int((decision == good).sum())
    low, high = wilson(selected, n)
    return GroupRow(
        group=name,
        n=n,
        small=n < SMALL,
        base_rate=float(y.mean()),
        selection_rate=Metric(value=selected / n, low=float(low), high=float(high), n=n),
        tpr=float(decision[y == 1].mean()) if (y == 1).any() else None,
        fpr=float(decision[y == 0].mean()) if (y == 0).any() else None,
        auc=auc(y, score) if 0 < y.sum() < n else None,
        predicted=float(score.mean()),
    )


def _summary(
    y: NDArray[np.int_],
    decision: NDArray[np.int_],
    names: NDArray[np.str_],
    compared: list[str],
    favourable: int,
    repeats: int,
    seed: int,
) -> dict[str, Metric | bool | None]:
    keys = ("demographic_parity_difference", "demographic_parity_ratio", "equalized_odds_difference")
    if len(compared) < 2:
        return {**dict.fromkeys(keys), "four_fifths": None}
    selected = (decision == favourable).astype(int)
    values = [
        demographic_parity_difference(y, selected, sensitive_features=names),
        demographic_parity_ratio(y, selected, sensitive_features=names),
        equalized_odds_difference(y, selected, sensitive_features=names),
    ]
    generator = np.random.default_rng(seed)
    draws = []  # (repeats, groups, 4): counts of (y, selected) = 00, 01, 10, 11
    for name in compared:
        cells = np.bincount((2 * y + selected)[names == name], minlength=4)
        draws.append(generator.multinomial(cells.sum(), cells / cells.sum(), size=repeats))
    mixed = all(0 < y[names == name].mean() < 1 for name in compared)
    defined = (True, bool(selected.any()), mixed)
    metrics: dict[str, Metric | bool | None] = dict.fromkeys(keys)
    for key, value, known, resampled in zip(keys, values, defined, _distances(np.stack(draws, axis=1)), strict=True):
        if known:
            low, high = interval(float(value), resampled)
            metrics[key] = Metric(value=float(value), low=low, high=high, n=len(y))
    return {**metrics, "four_fifths": bool(values[1] >= FOUR_FIFTHS) if selected.any() else None}


def _distances(cells: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
    """Parity difference, parity ratio and odds difference of counts of shape (repeats, groups, 4)."""
    rate = (cells[..., 1] + cells[..., 3]) / cells.sum(axis=-1)
    fpr = cells[..., 1] / np.maximum(cells[..., 0] + cells[..., 1], 1)
    tpr = cells[..., 3] / np.maximum(cells[..., 2] + cells[..., 3], 1)
    best = rate.max(axis=1)
    ratio = np.divide(rate.min(axis=1), best, out=np.full(len(best), np.nan), where=best > 0)
    return np.ptp(rate, axis=1), ratio, np.maximum(np.ptp(fpr, axis=1), np.ptp(tpr, axis=1))
