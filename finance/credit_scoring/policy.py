"""From a probability to a decision: the cut-off that is cheapest, or most profitable, on validation data."""

from __future__ import annotations

import numpy as np

from common.config import Strict
from finance.credit_scoring.config import Costs


class Cutoff(Strict):
    """Approve at or above `score` (points). `value` is the cost or profit per applicant on validation rows."""

    score: float
    rule: str
    value: float
    approval_rate: float


def cheapest_cutoff(score: np.ndarray, y: np.ndarray, costs: Costs, weight: np.ndarray | None = None) -> Cutoff:
    """The cut-off with the least cost per applicant; `costs` prices a defaulter let in and a good one sent away.

    `weight`, shape (n,), makes the rows stand for another population.
    """
    loss_if_approved = np.where(y == 1, costs.accept_bad, -costs.reject_good)  # against rejecting everybody
    weight = np.ones(len(y)) if weight is None else weight
    cutoff, approved, change = _best(score, -loss_if_approved, weight)
    reject_all = costs.reject_good * float(np.average(1 - y, weights=weight))
    rule = f"cost {costs.accept_bad:g}:{costs.reject_good:g}"
    return Cutoff(score=cutoff, rule=rule, value=reject_all - change, approval_rate=approved)


def most_profitable_cutoff(
    score: np.ndarray, y: np.ndarray, amount: np.ndarray, costs: Costs, weight: np.ndarray | None = None
) -> Cutoff:
    """The cut-off with the highest profit: `margin` of a repaid amount, `loss_given_default` of a defaulted one."""
    profit = amount * np.where(y == 1, -costs.loss_given_default, costs.margin)
    cutoff, approved, value = _best(score, profit, np.ones(len(y)) if weight is None else weight)
    rule = f"profit at margin {costs.margin:g}, loss given default {costs.loss_given_default:g}"
    return Cutoff(score=cutoff, rule=rule, value=value, approval_rate=approved)


def cost(approved: np.ndarray, y: np.ndarray, costs: Costs) -> float:
    """Cost per applicant of these decisions (boolean, shape (n,))."""
    return float((costs.accept_bad * (approved & (y == 1)) + costs.reject_good * (~approved & (y == 0))).mean())


def _best(score: np.ndarray, gain: np.ndarray, weight: np.ndarray) -> tuple[float, float, float]:
    """Cut-off, approval rate and mean gain when everybody from the cut-off up is approved; the safest of equals."""
    order = np.argsort(-score, kind="stable")
    ranked, total, people = score[order], np.cumsum((gain * weight)[order]), np.cumsum(weight[order])
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # equal scores are decided alike
    best = last[int(np.argmax(total[last]))]
    if total[best] <= 0:  # nobody is worth approving
        return float(np.nextafter(ranked[0], np.inf)), 0.0, 0.0
    return float(ranked[best]), float(people[best] / people[-1]), float(total[best] / people[-1])
