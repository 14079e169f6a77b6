from __future__ import annotations

import json

import numpy as np
import pytest

from common.config import build_config
from finance.fraud_detection.config import PRESETS, Config
from finance.fraud_detection.data import load
from finance.fraud_detection.fit import Features, definition_of, fit
from finance.fraud_detection.online import keys_of
from finance.fraud_detection.prequential import moment_of, past_moments
from finance.fraud_detection.serve import FraudPredictor
from finance.fraud_detection.train import with_recipe


def test_the_champion_ranks_frauds_it_has_not_seen_far_above_chance(bundle):
    metrics = bundle.json("metrics.json")
    assert metrics["valid_auc"] > 0.8
    assert metrics["valid_ap"] > 0.4
    assert metrics["valid_ap"] == max(metrics[f"valid_ap_{name}"] for name in ("logistic", "xgboost"))


def test_what_comes_after_the_test_begins_does_not_change_the_model(config):
    events = load(config)
    at = moment_of(config, events).at
    later = np.flatnonzero(events.time >= at)
    changed = load(config)
    changed.fraud[later] = 1 - changed.fraud[later]
    changed.amount[later] += 100
    hidden = np.flatnonzero((events.time < at) & (events.label_time > at))
    changed.fraud[hidden] = 1 - changed.fraud[hidden]
    scores = []
    for some in (events, changed):
        moments = [moment_of(config, some), *past_moments(config, some)]
        ready = Features(definition_of(config, some), some, moments)
        fitted = fit(config, some, ready)
        scores.append((fitted.score(ready.at(moments[0].train)), fitted.budget, fitted.decline))
    assert (scores[0][0] == scores[1][0]).all()
    assert scores[0][1:] == scores[1][1:]


def test_the_state_in_the_bundle_counts_as_history_does(bundle, config):
    """Looking at the first test transactions online gives the features of the whole table."""
    events = load(config)
    moment = moment_of(config, events)
    predictor = FraudPredictor.load(bundle)
    rows = moment.test[:200]
    rows = rows[events.time[rows] < events.time[moment.test[0]] + 60_000]  # those that see none of the test period
    keys = np.stack([keys_of(name, values[rows].tolist()) for name, values in events.entities.items()], axis=1)
    ready = Features(predictor.definition, events, [moment])
    counts = predictor.state.look(events.time[rows], keys)
    first = np.array([events.time[r] == events.time[moment.test[0]] for r in rows])
    found = predictor.definition.features(counts, events.time[rows], events.amount[rows])[first]
    assert len(found) > 0
    np.testing.assert_array_equal(found, ready.at(rows).x[first])


def test_no_name_of_a_customer_is_in_the_bundle(bundle):
    shown = {example["request"]["customer"] for example in bundle.examples()}
    told = "".join(
        (bundle.path / name).read_bytes().decode("latin-1") for name in bundle.manifest.files if "examples" not in name
    )
    assert shown
    assert not any(f'"{name}"' in told for name in shown)


def test_a_bundle_of_simulated_transactions_says_what_to_expect(bundle):
    assert "0.095" in json.dumps(bundle.json("data.json")["notes"])
    assert "0.095" in bundle.read("CARD.md").decode()


def test_published_sets_bring_their_settings_unless_these_are_changed():
    config = with_recipe(build_config(Config, PRESETS, "reference", ["dataset=fraud-sffsd"]))
    assert not config.calendar
    assert config.periods.test_start == ""
    own = with_recipe(build_config(Config, PRESETS, "reference", ["dataset=fraud-sffsd", "label_delay_days=0.5"]))
    assert own.label_delay_days == 0.5


@pytest.mark.usefixtures("real_data")
def test_registrations_train_too():
    config = with_recipe(Config(dataset="fraud-aws-registration", models=("xgboost",)))
    events = load(config)
    fitted = fit(config, events)
    assert fitted.metrics["valid_auc"] > 0.8
