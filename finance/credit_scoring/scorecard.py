"""The champion: a weight-of-evidence scorecard (Siddiqi, Credit Risk Scorecards, 2006)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from common.errors import DataError
from finance.credit_scoring.additive import Column, LogOdds, Term
from finance.credit_scoring.binning import BinnedVariable, bin_variable
from finance.credit_scoring.config import Binning, ScorecardSettings
from finance.credit_scoring.fields import CreditField


@dataclass(frozen=True)
class Scorecard:
    """The fitted model with the bins it was built from and why the other variables were dropped."""

    log_odds: LogOdds
    variables: tuple[BinnedVariable, ...]
    dropped: Mapping[str, str]


def fit_scorecard(
    fields: Sequence[CreditField],
    columns: Mapping[str, Column],
    y: np.ndarray,
    binning: Binning,
    settings: ScorecardSettings,
    weight: np.ndarray | None = None,
) -> Scorecard:
    """Bin, filter by information value and correlation, fit a logistic regression on WOE.

    A variable whose coefficient turns negative would reward what its bins punish, so the most
    negative is dropped and the rest refitted until none is left. Raises `DataError` when no variable
    carries information.
    """
    binned = [bin_variable(field, columns[field.name], y, binning, weight) for field in fields]
    woe = {b.axis.field: b.woe[b.axis.bins(columns[b.axis.field])] for b in binned}
    kept, dropped = _filter(binned, woe, binning)
    while kept:
        x = np.column_stack([woe[b.axis.field] for b in kept])
        model = LogisticRegression(C=settings.inverse_penalty).fit(x, y, sample_weight=weight)
        coefficients = model.coef_[0]
        worst = int(coefficients.argmin())
        if coefficients[worst] > 0:
            terms = tuple(Term((b.axis,), c * b.woe) for b, c in zip(kept, coefficients, strict=True))
            return Scorecard(LogOdds(terms, float(model.intercept_[0])), tuple(kept), dropped)
        dropped[kept[worst].axis.field] = "its coefficient was negative beside the others"
        del kept[worst]
    raise DataError("no variable tells good from bad", got=f"{len(fields)} fields", fix="check the label column")


def _filter(
    binned: Sequence[BinnedVariable], woe: Mapping[str, np.ndarray], config: Binning
) -> tuple[list[BinnedVariable], dict[str, str]]:
    """Greedy by information value: keep what informs and does not repeat something kept."""
    kept: list[BinnedVariable] = []
    dropped: dict[str, str] = {}
    standard = {name: (v - v.mean()) / v.std() for name, v in woe.items() if v.std() > 0}
    for candidate in sorted(binned, key=lambda b: -b.iv):
        name = candidate.axis.field
        if candidate.iv < config.min_iv or name not in standard:
            dropped[name] = f"information value below {config.min_iv}"
            continue
        closest = max(kept, key=lambda k: abs(standard[k.axis.field] @ standard[name]), default=None)
        if closest is not None:
            correlation = abs(standard[closest.axis.field] @ standard[name]) / len(standard[name])
            if correlation > config.max_correlation:
                dropped[name] = f"correlation above {config.max_correlation} with {closest.axis.field}"
                continue
        kept.append(candidate)
    return kept, dropped
