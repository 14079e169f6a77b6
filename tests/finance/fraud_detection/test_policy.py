from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from common.errors import DataError
from finance.fraud_detection.policy import Policy, alert_threshold, cost_saved, decide
from finance.fraud_detection.rules import CompiledRules, RuleSet

SCHEMA = {"amount": "number", "count": "number", "customer": "text", "terminal": "text"}
POLICY = Policy(review=0.5, decline=0.9, fallback="by_amount", fallback_amount=10_000)
DAY = 86_400_000


def rule(name, when, action, mode="live"):
    return {"name": name, "when": when, "action": action, "mode": mode, "reason": f"because {name}"}


RULES = CompiledRules(
    RuleSet.model_validate(
        {
            "version": 7,
            "rules": [
                rule("review", "amount >= 100", "review"),
                rule("approve", "amount >= 200", "approve"),
                rule("decline", "amount >= 300", "decline"),
                rule("busy", "count > 5", "decline"),
                rule("trial", "score > 0.2", "decline", mode="shadow"),
                rule("idle", "amount >= 0", "decline", mode="off"),
            ],
            "lists": [
                {"list": "block", "entity": "terminal", "value": "T1", "until": DAY},
                {"list": "allow", "entity": "customer", "value": "C1", "reason": "our own test card"},
            ],
        }
    ),
    SCHEMA,
)


def decided(score=0.0, degraded=False, policy=POLICY, **fields):
    record = {"time": 0, "amount": 1, "count": 0, "customer": "C9", "terminal": "T9", **fields}
    return decide(policy, RULES, record, score, degraded)


@pytest.mark.parametrize(
    ("fields", "decision", "by", "reasons"),
    [
        ({"terminal": "T1", "customer": "C1"}, "decline", "list", ("terminal T1 is on the block list",)),
        ({"terminal": "T1", "customer": "C1", "time": DAY}, "approve", "list", ("our own test card",)),
        ({"customer": "C1", "amount": 400, "score": 0.99}, "approve", "list", ("our own test card",)),
        ({"amount": 400}, "decline", "rule", ("because decline",)),
        ({"amount": 400, "count": 6}, "decline", "rule", ("because decline", "because busy")),
        ({"amount": 250, "score": 0.99}, "approve", "rule", ("because approve",)),
        ({"amount": 150, "score": 0.1}, "review", "rule", ("because review",)),
        ({"amount": 150, "score": 0.99}, "review", "rule", ("because review",)),
        ({"score": 0.9}, "decline", "model", ("the score 0.9 reaches 0.9, to decline",)),
        ({"score": 0.89}, "review", "model", ("the score 0.89 reaches 0.5, to review",)),
        ({"score": 0.5}, "review", "model", ("the score 0.5 reaches 0.5, to review",)),
        ({"score": 0.49}, "approve", "model", ()),
    ],
)
def test_lists_then_rules_then_the_model(fields, decision, by, reasons):
    outcome = decided(**fields)
    assert (outcome.decision, outcome.by, outcome.reasons) == (decision, by, reasons)
    assert outcome.rule_version == 7


def test_every_rule_that_holds_is_on_record_whoever_decides():
    outcome = decided(score=0.3, amount=400, count=6, customer="C1")
    assert outcome.by == "list"
    assert outcome.fired == ("review", "approve", "decline", "busy")
    assert outcome.shadow == ("trial",)


def test_a_shadow_rule_changes_nothing():
    outcome = decided(score=0.3)
    assert (outcome.decision, outcome.by, outcome.fired, outcome.shadow) == ("approve", "model", (), ("trial",))


@pytest.mark.parametrize("score", [float("nan"), None, -0.1, 1.5])
def test_without_a_score_nothing_is_approved_by_the_model(score):
    with pytest.raises(DataError, match="no score to decide by"):
        decided(score)


def test_without_the_state_lists_and_rules_hold_and_the_fallback_decides_the_rest():
    def degraded(policy=POLICY, **fields):
        record = {"time": 0, "amount": 1, "customer": "C9", "terminal": "T9", **fields}
        return decide(policy, RULES, record, None, degraded=True)[:3]

    assert degraded(terminal="T1") == ("decline", "list", ())
    assert degraded(amount=400) == ("decline", "rule", ("review", "approve", "decline"))
    assert degraded() == ("approve", "fallback", ())
    # The rule on count is not asked; that on the score neither, whatever the caller has left in the record.
    assert degraded(count=float("nan"), score=0.99) == ("approve", "fallback", ())
    assert decided(score=0.99, degraded=True).shadow == ()
    small = POLICY.model_copy(update={"fallback_amount": 50})
    assert degraded(small, amount=50) == ("review", "fallback", ())
    assert degraded(small, amount=49) == ("approve", "fallback", ())
    every = Policy(review=0.5, decline=0.9, fallback="review")
    assert degraded(every) == ("review", "fallback", ())


@pytest.mark.parametrize(
    "wrong",
    [
        {"decline": 0.4},
        {"fallback_amount": None},
        {"fallback": "review"},
        {"fallback": "approve"},
        {"review": float("nan")},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        Policy.model_validate({**POLICY.model_dump(), **wrong})


def week(seed, ties=False):
    rng = np.random.default_rng(seed)
    n = 2000
    fraud = (rng.random(n) < 0.05).astype(np.int8)
    score = np.clip(rng.normal(0.2 + 0.4 * fraud, 0.15), 0, 1)
    fraud[rng.random(n) < 0.1] = -1
    score = score.round(1) if ties else score
    return score, rng.integers(0, 7, n), fraud, rng.integers(0, 50_000, n), rng.choice(["a", "b", "c", *range(300)], n)


def alerts(threshold, score, day, unit):
    return len({(d, u) for s, d, u in zip(score, day, unit, strict=True) if s >= threshold})


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("budget", [0, 0.3, 1, 5, 20.5, 1e6])
@pytest.mark.parametrize("by_unit", [False, True])
def test_the_budget_is_kept_and_used_up(budget, ties, by_unit):
    score, day, fraud, amount, customer = week(1, ties)
    unit = customer if by_unit else np.arange(len(score))
    found = alert_threshold(score, day, fraud, amount, budget, customer if by_unit else None)
    raised = alerts(found.threshold, score, day, unit)
    assert found.alerts == raised <= budget * 7
    assert found.alerts_per_day == raised / 7
    lower = score[score < found.threshold]
    if len(lower):  # one level lower would be more than the budget
        assert alerts(lower.max(), score, day, unit) > budget * 7
    rows = score >= found.threshold
    assert found.amount_saved == amount[rows & (fraud == 1)].sum()


def test_rates_are_of_alerts_and_unknown_labels_are_left_out():
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.1])
    fraud = np.array([1, -1, 0, 1, 0, 1])
    amount = np.array([10, 20, 30, 40, 50, 60])
    found = alert_threshold(score, np.zeros(6, int), fraud, amount, 4)
    assert (found.threshold, found.alerts, found.precision, found.recall, found.amount_saved) == (
        0.6,
        4,
        2 / 3,
        2 / 3,
        50,
    )
    # As customers: A has .9 and .1 (fraud), B .8 (unknown) and .7 (good), C .6 and .5 (fraud).
    by_customer = alert_threshold(score, np.zeros(6, int), fraud, amount, 2, np.array(list("ABBCCA")))
    assert (by_customer.threshold, by_customer.alerts) == (0.8, 2)
    assert (by_customer.precision, by_customer.recall, by_customer.amount_saved) == (0.5, 0.5, 10)
    nothing = alert_threshold(score, np.zeros(6, int), np.full(6, -1), amount, 2)
    assert (nothing.precision, nothing.recall) == (None, None)


def test_tied_scores_are_never_more_than_the_budget():
    score = np.array([1.0] * 5 + [0.5])
    found = alert_threshold(score.astype(np.float32), np.zeros(6), np.ones(6), np.ones(6, int), 4)
    assert found.alerts == 0
    assert not (score >= found.threshold).any()
    assert alert_threshold(score, np.zeros(6), np.ones(6), np.ones(6, int), 5).alerts == 5


def test_a_budget_of_a_fraction_is_not_lost_to_rounding():
    score, day = np.arange(1000) / 1000, np.arange(1000) % 100
    assert alert_threshold(score, day, np.zeros(1000), np.ones(1000), 0.29).alerts == 29


@pytest.mark.parametrize("bad", [np.array([0.1, np.nan]), np.array([0.1]), np.array([])])
def test_scores_that_are_not_finite_or_too_few_are_refused(bad):
    with pytest.raises(DataError, match="no threshold can be chosen"):
        alert_threshold(bad, np.zeros(2), np.zeros(2), np.zeros(2), 1)
    with pytest.raises(DataError, match="no threshold"):
        alert_threshold(np.ones(2), np.zeros(2), np.zeros(2), np.zeros(2), -1)


def test_cost_saved_is_fraud_not_approved_less_the_reviews():
    decision = np.array(["approve", "review", "decline", "review", "review", "decline"])
    fraud = np.array([1, 1, 1, 0, -1, 0])
    amount = np.array([1000, 2000, 4000, 8000, 16_000, 32_000])
    assert cost_saved(decision, fraud, amount, 500) == 2000 + 4000 - 3 * 500
    assert cost_saved(np.full(6, "approve"), fraud, amount, 500) == 0
