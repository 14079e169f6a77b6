from __future__ import annotations

import numpy as np
import pytest
from test_live import ROOT, served

from common.errors import InvalidRequest, Overloaded
from finance.fraud_detection import remembered
from finance.fraud_detection.backtest import past_of
from finance.fraud_detection.clock import DAY
from finance.fraud_detection.data import load
from finance.fraud_detection.remembered import Remembered
from finance.fraud_detection.rule_history import fields_of, measure
from finance.fraud_detection.rules import RuleSet
from finance.fraud_detection.serve import FraudPredictor


def rule(when: str) -> dict:
    return {"name": "r", "when": when, "action": "review", "mode": "live", "reason": "a test"}


def rules(when: str) -> RuleSet:
    return RuleSet.model_validate({"rules": [rule(when)]})


@pytest.fixture(scope="module")
def predictor(bundle):
    return FraudPredictor.load(bundle)


@pytest.fixture
def none():
    return lambda since: []


@pytest.mark.parametrize(
    ("when", "days"),
    [
        ("amount > 15000", 40),
        ("terminal_count_7d >= 3 and amount > 5000", 33),
        ("terminal_risk_7d > 0.2", 26),
        ("customer_largest < 20", 10),
        ("score > 0.3", 3),
    ],
)
def test_what_is_measured_is_what_the_whole_history_gives(predictor, bundle, none, when, days):
    """As the command measures it on the data themselves, for the days of which nothing is cut short."""
    asked = rules(when)
    found = Remembered().measure(predictor, asked, none)
    past = past_of(bundle, predictor, days)
    fields = fields_of(asked, predictor.schema)
    expected = measure(asked, past, fields)
    assert found.rules == expected.rules
    assert found.rules[0].hits > 0
    names = ("since", "until", "transactions", "labelled", "frauds", "learned", "simulated")
    assert [getattr(found, name) for name in names] == [getattr(expected, name) for name in names]


def test_labels_that_came_later_count(predictor, none, config):
    events, at = load(config), int(predictor.kept["known_until"])
    later = np.flatnonzero((events.time < at) & (events.time > at - 2 * DAY))
    asked, since = rules("score > 0.3"), []

    def labels(begin: int):
        since.append(begin)
        return [(str(events.id[i]), int(events.fraud[i]), int(events.label_time[i])) for i in later]

    before, after = Remembered().measure(predictor, asked, none), Remembered().measure(predictor, asked, labels)
    assert (before.labelled, before.rules[0].precision) == (0, None)
    assert any("no label is known yet" in note for note in before.notes)
    assert after.labelled == len(later)
    assert after.frauds == (events.fraud[later] == 1).sum()
    assert after.rules[0].precision > 0.3
    assert len(after.notes) == 1
    assert since == [at - 40 * DAY]


def test_features_are_computed_once_for_each_bundle_and_are_bounded(predictor, bundle, none, monkeypatch):
    computed = []
    right = remembered.counts_of

    def counts_of(definition, table, rows, advance):
        computed.append(len(rows))
        return right(definition, table, rows, advance)

    monkeypatch.setattr(remembered, "counts_of", counts_of)
    monkeypatch.setattr(remembered, "MOST", 1000)
    memory = Remembered()
    for _ in range(2):
        assert memory.measure(predictor, rules("amount >= 0"), none).transactions == 1000
    memory.measure(FraudPredictor.load(bundle), rules("amount >= 0"), none)
    assert computed == [1000, 1000]


def test_one_at_a_time(predictor):
    memory = Remembered()

    def labels(since: int):
        with pytest.raises(Overloaded, match="another backtest is running"):
            memory.measure(predictor, rules("amount > 1"), labels)
        return []

    memory.measure(predictor, rules("amount > 1"), labels)
    memory.measure(predictor, rules("amount > 1"), lambda since: [])


def test_many_rules_are_refused(predictor, none):
    many = [rule("amount > 1") | {"name": f"r{place}"} for place in range(101)]
    with pytest.raises(InvalidRequest, match="too many rules at once: got 101, expected at most 100"):
        Remembered().measure(predictor, RuleSet.model_validate({"rules": many}), none)


def test_the_route_answers_and_refuses_what_it_cannot_know(bundle, tmp_path, monkeypatch):
    with served(bundle, tmp_path, monkeypatch) as client:
        example = client.get("/openapi.json").json()["components"]["schemas"]["RuleSet"]["examples"][0]
        told = client.post(f"{ROOT}/rules/backtest", json=example)
        assert told.status_code == 200, told.text
        assert told.json()["rules"][0]["name"] == "large-at-night"
        assert told.json()["simulated"]
        assert told.json()["labelled"] > 0
        assert client.get(f"{ROOT}/rules").json()["version"] == 0
        hidden = client.post(f"{ROOT}/rules/backtest", json={"rules": [rule("terminal == 'T1' and amount > 1")]})
        assert hidden.status_code == 422
        assert hidden.json()["detail"] == (
            "rule 'r': only hashes of it are remembered: got terminal; measure it where the data are, by "
            "python -m finance.fraud_detection.backtest."
        )
        misspelt = client.post(f"{ROOT}/rules/backtest", json={"rules": [rule("amuont > 1")]})
        assert misspelt.status_code == 422
        assert "did you mean 'amount'?" in misspelt.json()["detail"]
        empty = client.post(f"{ROOT}/rules/backtest", json={"rules": []})
        assert empty.json()["rules"] == []
        assert client.post(f"{ROOT}/rules", json=example).json() == {"version": 1}
