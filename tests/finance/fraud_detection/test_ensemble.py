from __future__ import annotations

import numpy as np
import pytest

from finance.fraud_detection.data import load
from finance.fraud_detection.ensemble import Ensemble
from finance.fraud_detection.fit import Features, definition_of, fit, fit_models
from finance.fraud_detection.prequential import moment_of
from finance.fraud_detection.serve import FraudPredictor


@pytest.fixture(scope="module")
def known(config, sequence_bundle):
    """A predictor that reads sequences, and what it sees of the test period."""
    predictor = FraudPredictor.load(sequence_bundle)
    events = load(config)
    moment = moment_of(config, events)
    return predictor, events, moment, Features(predictor.definition, events, [moment])


def test_a_network_comes_back_from_its_bundle_and_ranks_frauds(known):
    predictor, events, moment, ready = known
    assert predictor.name.startswith("sequence ")
    score, fraud = predictor.score(ready.at(moment.test)), events.fraud[moment.test]
    assert 0 <= score.min() < score.max() <= 1
    assert score[fraud == 1].mean() > 5 * score[fraud == 0].mean()
    assert predictor.definition.steps == 8


def test_an_ensemble_is_the_mean_of_its_parts(known, config):
    predictor, events, moment, ready = known
    train, some = ready.at(moment.train), ready.at(moment.test[:50])
    small = config.model_copy(update={"models": ("logistic", "xgboost")})
    found = dict(fit_models(small, train, events.fraud[moment.train]))
    network = predictor.model.parts["sequence"]
    both = Ensemble({"xgboost": found["xgboost"].parts["xgboost"], "sequence": network})
    assert both.name == "xgboost + sequence"
    expected = (found["xgboost"].predict(*some) + network.predict(*some)) / 2
    np.testing.assert_allclose(both.predict(*some), expected)
    adds = both.contributions(*some)
    assert adds.shape == (50, len(predictor.definition.names) + 1)
    np.testing.assert_allclose(adds[:, -1], network.contributions(*some)[:, -1] / 2)
    assert not found["logistic"].contributions(*some)[:, -1].any()


def test_two_kinds_are_tried_together_and_the_best_of_past_moments_is_the_champion(known, config):
    _, events, _, _ = known
    quick = {"steps": 4, "epochs": 1}
    both = config.model_copy(update={"models": ("xgboost", "sequence"), "sequence": type(config.sequence)(**quick)})
    fitted = fit(both, events)
    assert definition_of(both, events).steps == 4
    assert list(fitted.models) == ["xgboost", "sequence", "xgboost + sequence"]
    assert fitted.champion == max(fitted.models, key=lambda name: fitted.metrics[f"valid_ap_{name}"])


def test_reasons_of_an_alert_may_be_the_order_of_transactions(known):
    predictor, events, moment, ready = known
    rows = moment.test[events.fraud[moment.test] == 1]
    adds = predictor.model.contributions(*ready.at(rows))
    assert (adds[:, -1] != 0).any()
    assert np.isfinite(adds).all()
