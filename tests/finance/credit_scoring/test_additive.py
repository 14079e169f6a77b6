from __future__ import annotations

import json
import math

import numpy as np
import pytest

from finance.credit_scoring.additive import AdditiveModel, Axis, LogOdds, Scale, Term

AGE = Axis("age", (18.0, 30.0), {99.0: 3, 20.0: 3}, missing=4)
HOME = Axis("home", (), {"own": 0, "rent": 1}, missing=2, other=3)


@pytest.fixture
def log_odds() -> LogOdds:
    rng = np.random.default_rng(0)
    tables = [Term((AGE,), rng.normal(size=5)), Term((HOME,), rng.normal(size=4))]
    return LogOdds((*tables, Term((AGE, HOME), rng.normal(size=(5, 4)))), -1.2)


@pytest.fixture
def columns():
    rng = np.random.default_rng(1)
    age = rng.choice([17.0, 18.0, 20.0, 29.9, 30.0, 99.0, np.nan, math.inf], 500)
    return {"age": age, "home": (rng.integers(-1, 3, 500), ["own", "rent", "igloo"])}


def records(columns):
    codes, levels = columns["home"]
    homes = [None if code < 0 else levels[code] for code in codes]
    return [{"age": age, "home": home} for age, home in zip(columns["age"].tolist(), homes, strict=True)]


def test_a_value_on_a_cut_belongs_to_the_bin_above_and_a_code_to_its_own():
    below = math.nextafter(30.0, 0)
    assert [AGE.bin(v) for v in (-math.inf, 17.9, 18, below, 30, 99, 20, None, math.nan)] == [0, 0, 1, 1, 2, 3, 3, 4, 4]
    assert [HOME.bin(v) for v in ("own", "rent", "igloo", None)] == [0, 1, 3, 2]


def test_bins_of_a_column_are_the_bins_of_its_values(columns):
    assert AGE.bins(columns["age"]).tolist() == [AGE.bin(r["age"]) for r in records(columns)]
    assert HOME.bins(columns["home"]).tolist() == [HOME.bin(r["home"]) for r in records(columns)]


def test_one_and_many_agree_and_contributions_sum_to_the_score(log_odds, columns):
    model = log_odds.to_points(Scale(), 1000, columns)
    scores, contributions = model.score(columns), model.contributions(columns)
    for i, record in enumerate(records(columns)):
        total, shares = model.score_one(record)
        assert total == scores[i] == model.base + sum(shares)
        assert shares == contributions[i].tolist()
    assert scores.dtype == np.int64


def test_points_say_what_the_log_odds_say_to_their_resolution(log_odds, columns):
    scale = Scale(base_score=500, base_odds=20, pdo=40)
    model = log_odds.to_points(scale, 1000, columns)
    exact = np.array([scale.points(x) for x in log_odds.predict(columns)])
    assert abs(model.score(columns) / 1000 - exact).max() <= 4 * 0.5 / 1000  # four roundings
    expected = 1 / (1 + np.exp(-log_odds.predict(columns)))
    np.testing.assert_allclose(model.probability(model.score(columns)), expected, atol=5e-5)


def test_contributions_compare_with_the_average_applicant(log_odds, columns):
    model = log_odds.to_points(Scale(), 1000, columns)
    assert abs(model.contributions(columns).mean(axis=0)).max() < 1


def test_scale_doubles_the_odds_every_pdo_points():
    scale = Scale(base_score=600, base_odds=30, pdo=50)
    assert scale.probability(600) == round(1 / 31, 6)
    assert scale.probability(650) == round(1 / 61, 6)
    assert scale.points(math.log(1 / 30)) == pytest.approx(600)
    assert (scale.probability(1e9), scale.probability(-1e9)) == (0.0, 1.0)


def test_recalibration_keeps_the_sum(log_odds, columns):
    moved = log_odds.recalibrated(0.8, 0.3)
    np.testing.assert_allclose(moved.predict(columns), 0.8 * log_odds.predict(columns) + 0.3)


def test_json_and_tables_bring_the_model_back(log_odds, columns):
    model = log_odds.to_points(Scale(), 1000, columns)
    again = AdditiveModel.from_json(json.loads(json.dumps(model.to_json())), model.tables())
    assert again.score(columns).tolist() == model.score(columns).tolist()
    assert len(again.axes) == 2  # terms of one field still share their axis
    assert again.score_one({"age": 99, "home": "igloo"}) == model.score_one({"age": 99.0, "home": "igloo"})
