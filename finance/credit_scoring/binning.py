"""Optimal binning of one variable into weight-of-evidence (WOE) bins.

OptBinning finds the bins at training time; what leaves this room is data (`Axis`, counts), so
serving needs no OptBinning. Special codes and missing values are taken out before and get bins of
their own. WOE is the log-odds of default in the bin less the log-odds overall: positive is worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from optbinning import OptimalBinning

from finance.credit_scoring.additive import AdditiveModel, Axis, Column
from finance.credit_scoring.config import Binning, Trend, VariableBinning
from finance.credit_scoring.fields import CreditField

TREND_BY_RISK: dict[int, Trend] = {1: "ascending", -1: "descending", 0: "auto_heuristic"}


@dataclass(frozen=True)
class BinnedVariable:
    """Bins of one variable with (weighted) counts of goods and bads, shape (bins,) each."""

    axis: Axis
    goods: np.ndarray
    bads: np.ndarray
    woe: np.ndarray
    iv: float


def bin_variable(
    field: CreditField, column: Column, y: np.ndarray, config: Binning, weight: np.ndarray | None = None
) -> BinnedVariable:
    """Fit the bins of one variable on training rows; `y` is 1 for default, shape (n,)."""
    override = config.overrides.get(field.name, VariableBinning())
    trend = override.trend or TREND_BY_RISK[field.risk]
    axis = (
        _bin_category(field, column, y, config, trend, override)
        if isinstance(column, tuple)
        else _bin_number(field, column, y, config, trend, override)
    )
    binned = _count(axis, column, y, config, weight)
    if override.missing == "merge" and binned.goods[axis.missing] + binned.bads[axis.missing] > 0:
        others = [i for i in range(len(binned.woe)) if i not in (axis.missing, axis.other)]
        nearest = min(others, key=lambda i: abs(binned.woe[i] - binned.woe[axis.missing]))
        binned = _count(Axis(axis.field, axis.cuts, axis.codes, nearest, axis.other), column, y, config, weight)
    return binned


def _bin_number(
    field: CreditField, column: np.ndarray, y: np.ndarray, config: Binning, trend: Trend, override: VariableBinning
) -> Axis:
    special = override.special or field.special
    regular = ~(np.isnan(column) | np.isin(column, special))
    cuts = override.cuts
    if cuts is None:
        cuts = ()
        if len(np.unique(column[regular])) > 1:
            binning = _optimal(field.name, "numerical", config, trend, override)
            splits = binning.fit(column[regular], y[regular]).splits
            # OptBinning's own `split_digits` counts decimals, which would leave few cuts to a field of small numbers.
            cuts = tuple(sorted({float(f"{split:.{config.digits}g}") for split in splits}))
    first = len(cuts) + 1
    codes = {code: first + i for i, code in enumerate(special)}
    return Axis(field.name, cuts, codes, missing=first + len(codes))


def _bin_category(
    field: CreditField, column: Column, y: np.ndarray, config: Binning, trend: Trend, override: VariableBinning
) -> Axis:
    """Ordered categories are binned by rank, so that neighbours merge; others by bad rate."""
    codes, levels = column
    present = codes >= 0
    if field.ordered:
        rank = np.array([field.rank(level) for level in levels])
        fitted = _optimal(field.name, "numerical", config, trend, override).fit(rank[codes[present]], y[present])
        groups = np.searchsorted(fitted.splits, rank, side="right")
    else:
        fitted = _optimal(field.name, "categorical", config, "auto", override).fit(
            codes[present].astype(str), y[present]
        )
        groups = np.zeros(len(levels), dtype=int)
        for place, group in enumerate(fitted.splits):
            groups[[int(code) for code in group]] = place
    count = int(groups.max(initial=0)) + 1
    mapping = {level: int(group) for level, group in zip(levels, groups, strict=True)}
    return Axis(field.name, (), mapping, missing=count, other=count + 1)


def _optimal(name: str, dtype: str, config: Binning, trend: Trend, override: VariableBinning) -> OptimalBinning:
    return OptimalBinning(
        name,
        dtype=dtype,
        max_n_prebins=config.max_prebins,
        min_prebin_size=config.min_bin,
        max_n_bins=override.max_bins,
        monotonic_trend=trend,
    )


def _count(axis: Axis, column: Column, y: np.ndarray, config: Binning, weight: np.ndarray | None) -> BinnedVariable:
    """WOE with `smoothing` rows of average risk in each bin, so that empty bins are neutral (WOE 0)."""
    places = axis.bins(column)
    size = 1 + max(places.max(initial=0), axis.missing, axis.other, len(axis.cuts), *axis.codes.values(), 0)
    weight = np.ones(len(y)) if weight is None else weight
    bads = np.bincount(places, weights=weight * y, minlength=size)
    goods = np.bincount(places, weights=weight * (1 - y), minlength=size)
    rate = bads.sum() / (bads.sum() + goods.sum())
    smooth_bads, smooth_goods = bads + config.smoothing * rate, goods + config.smoothing * (1 - rate)
    woe = np.log(smooth_bads / smooth_goods) - np.log(rate / (1 - rate))
    iv = float(((bads / bads.sum() - goods / goods.sum()) * woe).sum())
    return BinnedVariable(axis, goods, bads, woe, iv)


def describe_bins(variables: Sequence[BinnedVariable], model: AdditiveModel) -> list[dict[str, Any]]:
    """The scorecard as people read it: one row a bin with its label, rows, bad rate, WOE and points.

    Bins that nobody fell into in training are left out; the compiled scorecard has them all.
    """
    points = {term.axes[0].field: term.table for term in model.terms}
    rows = []
    for variable in variables:
        axis, total = variable.axis, variable.goods + variable.bads
        for place, label in enumerate(_labels(axis, len(total))):
            if not total[place]:
                continue
            rows.append(
                {
                    "field": axis.field,
                    "bin": label,
                    "rows": round(float(total[place])),
                    "bad_rate": float(variable.bads[place] / total[place]),
                    "woe": round(float(variable.woe[place]), 6),
                    "points": int(points[axis.field][place]),
                    "iv": round(variable.iv, 6),
                }
            )
    return rows


def _labels(axis: Axis, size: int) -> list[str]:
    labels = ["" for _ in range(size)]
    if not axis.categorical:
        edges = ["-inf", *(f"{cut:g}" for cut in axis.cuts), "inf"]
        labels[: len(axis.cuts) + 1] = [f"[{low}, {high})" for low, high in pairwise(edges)]
    for code, place in axis.codes.items():
        labels[place] += (" | " if labels[place] else "") + str(code)
    labels[axis.missing] += (" or " if labels[axis.missing] else "") + "missing"
    if axis.categorical:
        labels[axis.other] += (" or " if labels[axis.other] else "") + "never seen"
    return labels
