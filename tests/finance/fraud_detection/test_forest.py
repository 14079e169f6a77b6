from __future__ import annotations

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.ensemble import IsolationForest

from finance.fraud_detection.config import BoostingSettings
from finance.fraud_detection.forest import Forest
from finance.fraud_detection.linear import Logistic
from finance.fraud_detection.model import Anomaly, fit_lightgbm, fit_xgboost


@pytest.fixture(scope="module")
def data():
    """Features with gaps, ties and values at the cuts."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 6)).astype(np.float32)
    x[:, 1] = rng.integers(0, 4, 3000)
    y = (x[:, 0] + (x[:, 1] == 2) + rng.normal(size=3000) > 1).astype(int)
    x[rng.random(x.shape) < 0.2] = np.nan
    x[:, 5] = np.nan
    return x, y


def test_xgboosts_log_odds(data):
    x, y = data
    options = {"objective": "binary:logistic", "max_depth": 4, "nthread": 1, "base_score": 0.2}
    booster = xgboost.train(options, xgboost.DMatrix(x, y), 30)
    expected = booster.predict(xgboost.DMatrix(x), output_margin=True)
    assert Forest.of_xgboost(booster).predict(x) == pytest.approx(expected, abs=1e-5)


def test_lightgbms_log_odds(data):
    x, y = data
    booster = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, lightgbm.Dataset(x, y), 30)
    cuts = Forest.of_lightgbm(booster)
    at_cuts = np.repeat(x[:1], len(cuts.cut), axis=0)
    at_cuts[np.arange(len(cuts.cut)), np.maximum(cuts.feature, 0)] = cuts.cut
    for rows in (x, at_cuts):
        expected = booster.predict(rows.astype(np.float64), raw_score=True)
        assert cuts.predict(rows) == pytest.approx(expected, abs=1e-9)


def test_isolation_forests_depth(data):
    x = np.nan_to_num(data[0], nan=-1)
    forest = IsolationForest(n_estimators=20, max_samples=256, random_state=0).fit(x)
    found = Anomaly(Forest.of_isolation(forest), 256).predict(x)
    assert found == pytest.approx(-forest.score_samples(x), abs=1e-9)


def test_contributions_add_up_and_name_what_decides(data):
    x, y = data
    forest = fit_xgboost(x, y, BoostingSettings(rounds=40, bags=2), seed=0)
    adds = forest.contributions(x)
    assert adds.sum(axis=1) + forest.expected == pytest.approx(forest.predict(x), abs=1e-9)
    assert set(np.argsort(-np.abs(adds).mean(axis=0))[:2]) == {0, 1}
    assert not adds[:, 5].any()


def test_the_mean_of_forests_is_the_mean_of_their_scores_and_survives_writing(data):
    x, y = data
    some = [fit(x, y, BoostingSettings(rounds=10, bags=1), seed=1) for fit in (fit_xgboost, fit_lightgbm)]
    mean = Forest.of_arrays(Forest.mean(some).arrays())
    assert mean.predict(x) == pytest.approx((some[0].predict(x) + some[1].predict(x)) / 2)


def test_a_seed_gives_the_same_model_and_another_another(data):
    x, y = data
    settings = BoostingSettings(rounds=10, bags=1)
    for fit in (fit_xgboost, fit_lightgbm):
        first, again, other = (fit(x, y, settings, seed).predict(x) for seed in (0, 0, 1))
        assert (first == again).all()
        assert (first != other).any()


def test_logistic_regression_takes_gaps_as_the_mean(data):
    x, y = data
    model = Logistic.fit(x, y, 0)
    model = Logistic.of_arrays(model.arrays())
    row = np.full((1, 6), np.nan, np.float32)
    assert model.predict(row) == pytest.approx(model.intercept)
    assert model.contributions(x).sum(axis=1) + model.intercept == pytest.approx(model.predict(x))
    assert np.isfinite(model.predict(np.full((1, 6), 1e30, np.float32))).all()
