from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from common.bundle import load_bundle
from common.errors import DataError
from finance.fraud_detection import backtest
from finance.fraud_detection.backtest import past_of
from finance.fraud_detection.clock import DAY
from finance.fraud_detection.data import load
from finance.fraud_detection.fit import Features
from finance.fraud_detection.prequential import moment_of
from finance.fraud_detection.rule_history import fields_of, measure
from finance.fraud_detection.rules import CompiledRules, Rule, RuleSet
from finance.fraud_detection.serve import FraudPredictor


def rules(*conditions: str) -> RuleSet:
    told = [
        Rule(name=f"r{place}", when=when, action="review", mode="live", reason="a test")
        for place, when in enumerate(conditions)
    ]
    return RuleSet(version=1, rules=tuple(told))


@pytest.fixture(scope="module")
def predictor(bundle):
    return FraudPredictor.load(bundle)


@pytest.fixture(scope="module")
def past(bundle, predictor):
    return past_of(bundle, predictor, 20)


def test_only_what_training_knew_is_measured(past, config):
    events, at = load(config), moment_of(config, load(config)).at
    assert past.time.max() < at
    assert past.time.min() >= at - 20 * DAY
    some = np.flatnonzero((events.time < at) & (events.time >= at - 20 * DAY))
    known = events.label_time[some] <= at
    assert (past.fraud[known] == events.fraud[some][known]).all()
    assert (past.fraud[~known] == -1).all()
    assert (~known).any()
    assert past.learned.sum() == np.isin(moment_of(config, events).train, some).sum() > 0


def test_rules_see_each_transaction_as_the_service_would_have(past, config, predictor):
    """Columns are those of the whole history, and a rule holds on them where it holds on the record of a request."""
    events, at = load(config), int(predictor.kept["known_until"])
    some = np.flatnonzero((events.time < at) & (events.time >= at - 20 * DAY))
    moment = moment_of(config, events)
    x = Features(predictor.definition, events, [type(moment)(at, some, some)]).at(some)
    np.testing.assert_array_equal(past.inputs.x, x.x)
    asked = rules("amount > 9000 and terminal_count_7d >= 2", "customer_risk_30d > 0", "terminal in ('T7', 'T8', 'T9')")
    found = measure(asked, past, fields_of(asked, predictor.schema))
    compiled, hits = CompiledRules(asked, predictor.schema), dict.fromkeys(("r0", "r1", "r2"), 0)
    for i in range(len(some)):
        record = dict(zip(predictor.definition.names, x.x[i].tolist(), strict=True))
        record |= {"currency": "EUR", "amount": int(events.amount[some[i]]), "time": int(events.time[some[i]])}
        record |= {name: str(values[some[i]]) or None for name, values in events.entities.items()}
        for rule in compiled.fired(record | {"score": 0.5}):
            hits[rule.name] += 1
    assert {result.name: result.hits for result in found.rules} == hits
    assert min(hits.values()) > 0


def test_an_entity_that_is_not_known_is_missing(past):
    some = past.part(np.arange(len(past.time)) < 3)
    some.texts["terminal"][:] = [None, "T1", "T2"]
    asked = rules("is_missing(terminal)", "terminal != 'T1'")
    found = measure(asked, some, {"r0": ["terminal"], "r1": ["terminal"]})
    assert [result.hits for result in found.rules] == [1, 1]


def main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["backtest", *map(str, arguments)])
    try:
        backtest.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def file(tmp_path):
    """Rules, one of which reads the score."""
    place = tmp_path / "rules.json"
    place.write_text(rules("amount > 22000", "score > 0.5").model_dump_json())
    return place


def test_the_command_says_what_rules_would_have_done(bundle, file, monkeypatch, capsys):
    assert main(monkeypatch, bundle.path, file) == 0
    told = capsys.readouterr().out
    assert "transactions from 2018-05-02 to 2018-05-31" in told
    assert "score is optimistic on the" in told
    assert "0.095" in told
    assert main(monkeypatch, bundle.path, file, "--json") == 0
    seen = json.loads(capsys.readouterr().out)
    amount, score = seen["rules"]
    assert amount["hits"] > amount["frauds"] > 0
    assert score["precision"] > 0.5
    assert seen["learned"] > 0
    assert main(monkeypatch, bundle.path, file, "--json", "--unseen") == 0
    unseen = json.loads(capsys.readouterr().out)
    assert unseen["learned"] == 0
    assert unseen["transactions"] == seen["transactions"] - seen["learned"]
    assert not any("optimistic" in note for note in unseen["notes"])


def test_without_a_rule_on_the_score_nothing_is_optimistic(bundle, file, monkeypatch, capsys):
    file.write_text(rules("hour < 6").model_dump_json())
    assert main(monkeypatch, bundle.path, file) == 0
    assert "optimistic" not in capsys.readouterr().out
    file.write_text('{"rules": [], "lists": [{"list": "block", "entity": "terminal", "value": "T1"}]}')
    assert main(monkeypatch, bundle.path, file) == 0
    assert "block and allow lists are not measured" in capsys.readouterr().out


def test_wrong_use_is_one_sentence(bundle, file, tmp_path, monkeypatch, capsys):
    def said(*arguments: str) -> str:
        assert main(monkeypatch, *arguments) in (1, 2)
        told = capsys.readouterr()
        assert told.out == ""
        return told.err.splitlines()[-1]

    assert "no such file" in said(bundle.path, tmp_path / "none.json").lower()
    assert "no manifest.json in this folder" in said(tmp_path, file)
    assert "no transaction is so recent: got 0" in said(bundle.path, file, "--days", "0")
    assert "learned from all transactions with a label" in said(bundle.path, file, "--days", "9", "--unseen")
    file.write_text(rules("amuont > 1").model_dump_json())
    assert "rule 'r0', line 1, character 1: unknown field: got 'amuont'; did you mean 'amount'?" in said(
        bundle.path, file
    )
    file.write_text('{"rules": [{"name": "x"}]}')
    assert f"{file}, rules[0].when: not a rule set" in said(bundle.path, file)


def test_a_bundle_of_another_system_is_refused(bundle, file, tmp_path, monkeypatch, capsys):
    other = load_bundle(bundle.path)
    object.__setattr__(other, "manifest", other.manifest.model_copy(update={"system": "finance.credit_scoring"}))
    monkeypatch.setattr(backtest, "open_address", lambda address: other)
    assert main(monkeypatch, bundle.path, file) == 2
    expected = "a bundle of another system: got finance.credit_scoring, expected finance.fraud_detection"
    assert expected in capsys.readouterr().err


def test_other_data_than_those_of_training_are_refused(bundle, predictor, monkeypatch):
    monkeypatch.setattr(backtest, "load", lambda config: load(config.model_copy(update={"seed": 1})))
    with pytest.raises(DataError, match="not the data that the bundle was trained on"):
        past_of(bundle, predictor, 20)
