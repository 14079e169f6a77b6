"""The hybrid policy: lists, rules and the model's score make one decision; what thresholds and decisions are worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from common.config import Strict
from common.errors import DataError
from finance.fraud_detection.rules import Action, CompiledRules, Rule


class Policy(Strict):
    """From which score on a transaction is held for review or declined, and what is done without a score."""

    review: float = Field(ge=0, description="reviewed from this score on; above 1: never")
    decline: float = Field(ge=0, description="declined from this score on; above 1: never")
    fallback: Literal["review", "by_amount"] = Field(description="without a score: review all, or large amounts only")
    fallback_amount: int | None = Field(None, ge=0, description="minor units; by_amount reviews from this amount on")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.decline < self.review:
            raise ValueError(f"decline at or above review ({self.review:g})")
        if (self.fallback == "by_amount") != (self.fallback_amount is not None):
            raise ValueError("fallback_amount with the fallback by_amount, and only with it")
        return self


class Outcome(NamedTuple):
    """A decision and who made it; `fired` are all live rules that held, `shadow` those that would have.

    `reasons` are those of the list entry or of the rules that decided, or the threshold that the score reached.
    """

    decision: Action
    by: Literal["list", "rule", "model", "fallback"]
    fired: tuple[str, ...]
    shadow: tuple[str, ...]
    reasons: tuple[str, ...]
    rule_version: int


def decide(
    policy: Policy, rules: CompiledRules, record: Mapping[str, Any], score: float | None, degraded: bool = False
) -> Outcome:
    """Decide one transaction; `record` has its fields (`time`, `amount`, entities) and its features.

    The first of these that has something to say decides:
    block list, since a known thief is to be stopped whatever else is thought of him; allow list, since somebody
    vouched for exactly this value; decline rules, since a fraud let through costs its amount and a wrong stop a call;
    approve rules, which are exceptions and would be void after review; review rules; and at last the model. So people
    overrule the model both ways: a review rule also holds for review what the model would decline, which releases
    nothing.

    `degraded` means that the state, and with it the features, is away: the model is not asked, nor are rules that need
    what is missing (see `CompiledRules.fired`), and `policy.fallback` decides in its place. Raises `DataError` when,
    not degraded, the score is no number from 0 to 1: compared with thresholds NaN would approve.
    """
    if degraded:
        known = {name: value for name, value in record.items() if name != "score"}
    elif score is not None and 0 <= score <= 1:
        known = {**record, "score": score}
    else:
        raise DataError("no score to decide by", got=score, expected="0 to 1", fix="pass degraded=True without one")
    held = rules.fired(known, degraded)
    live: list[Rule] = [rule for rule in held if rule.mode == "live"]
    shadow = tuple(rule.name for rule in held if rule.mode == "shadow")

    def outcome(decision: Action, by: Literal["list", "rule", "model", "fallback"], *reasons: str) -> Outcome:
        return Outcome(decision, by, tuple(rule.name for rule in live), shadow, reasons, rules.version)

    if entry := rules.listed(record, record["time"]):
        reason = entry.reason or f"{entry.entity} {entry.value} is on the {entry.list} list"
        return outcome("decline" if entry.list == "block" else "approve", "list", reason)
    order: tuple[Action, ...] = ("decline", "approve", "review")
    for action in order:
        if reasons := [rule.reason for rule in live if rule.action == action]:
            return outcome(action, "rule", *reasons)
    if degraded or score is None:
        limit = policy.fallback_amount
        if limit is None:
            return outcome("review", "fallback", "no features at the moment: every transaction is reviewed")
        if record["amount"] >= limit:
            return outcome("review", "fallback", f"no features at the moment: amounts from {limit} on are reviewed")
        return outcome("approve", "fallback", f"no features at the moment: amounts below {limit} pass")
    if score >= policy.decline:
        return outcome("decline", "model", f"the score {score:.4g} reaches {policy.decline:.4g}, to decline")
    if score >= policy.review:
        return outcome("review", "model", f"the score {score:.4g} reaches {policy.review:.4g}, to review")
    return outcome("approve", "model")


class AlertBudget(Strict):
    """What alerting from `threshold` on does, measured on the rows that it was chosen on."""

    threshold: float = Field(description="alert at or above this score")
    budget_per_day: float
    days: int
    alerts: int
    precision: float | None = Field(description="frauds among alerts with known label; null without any")
    recall: float | None = Field(description="share of frauds (units with one, for each day) that are alerted")
    amount_saved: int = Field(description="minor units of the frauds that reach the threshold themselves")

    @property
    def alerts_per_day(self) -> float:
        """At most `budget_per_day`."""
        return self.alerts / self.days


def alert_threshold(
    score: np.ndarray,
    day: np.ndarray,
    fraud: np.ndarray,
    amount: np.ndarray,
    budget_per_day: float,
    unit: np.ndarray | None = None,
) -> AlertBudget:
    """The lowest threshold with at most `budget_per_day` alerts a day on average over the days there are.

    That is the best one: as it falls, fraud and amount caught only rise. All arrays have shape (n,); `fraud` is 1, 0 or
    -1 (unknown: costs an alert, but is in no rate). `unit` is what an alert is about, such as the customer: several
    transactions of one unit on one day are one alert, and it is right when any of them is fraud (as the card precision
    of the Fraud Detection Handbook, chapter 4); without it each transaction is an alert of its own. Equal scores are
    alerted together or not at all. Raises `DataError` for no rows, unequal lengths or scores that are not finite.
    """
    score, fraud, amount = np.asarray(score, dtype=float), np.asarray(fraud), np.asarray(amount)
    lengths = {len(values) for values in (score, day, fraud, amount, score if unit is None else unit)}
    if len(lengths) > 1 or lengths == {0} or not np.isfinite(score).all() or not 0 <= budget_per_day < np.inf:
        got = f"lengths {sorted(lengths)}, {int((~np.isfinite(score)).sum())} scores not finite, {budget_per_day} a day"
        raise DataError("no threshold can be chosen", got=got, expected="finite scores, with a value of each for all")
    dates, date = np.unique(day, return_inverse=True)
    top, label = score, fraud
    if unit is not None:
        names, name = np.unique(unit, return_inverse=True)
        groups, group = np.unique(date * len(names) + name, return_inverse=True)
        top, label = np.full(len(groups), -np.inf), np.full(len(groups), -1)
        np.maximum.at(top, group, score)
        np.maximum.at(label, group, fraud)
    most = int(budget_per_day * len(dates) + 1e-9)  # .29 x 100 is 28.999999999999996
    levels, counts = np.unique(-top, return_counts=True)  # highest score first
    affordable = int(np.searchsorted(np.cumsum(counts), most, side="right"))
    threshold = float(-levels[affordable - 1]) if affordable else float(np.nextafter(-levels[0], np.inf))
    alerted, frauds = top >= threshold, label == 1
    caught, known = int((alerted & frauds).sum()), int((alerted & (label >= 0)).sum())
    return AlertBudget(
        threshold=threshold,
        budget_per_day=budget_per_day,
        days=len(dates),
        alerts=int(alerted.sum()),
        precision=caught / known if known else None,
        recall=caught / int(frauds.sum()) if frauds.any() else None,
        amount_saved=int(amount[(fraud == 1) & (score >= threshold)].sum()),
    )


def cost_saved(decision: np.ndarray, fraud: np.ndarray, amount: np.ndarray, review_cost: int) -> int:
    """Minor units saved by decisions, shape (n,): the amount of all fraud not approved, less the cost of the reviews.

    A reviewer is taken to see every fraud, each review costs `review_cost`, and a good transaction declined costs
    nothing here. Rows with unknown label (-1) save nothing, but their reviews cost.
    """
    decision = np.asarray(decision)
    stopped = int(np.asarray(amount)[(decision != "approve") & (np.asarray(fraud) == 1)].sum())
    return stopped - review_cost * int((decision == "review").sum())
