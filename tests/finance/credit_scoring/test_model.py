from __future__ import annotations

import lightgbm
import numpy as np
import pytest
import xgboost

from common.training.boosting import Boosting, fit_boosting
from finance.credit_scoring.additive import Scale
from finance.credit_scoring.config import ChallengerSettings
from finance.credit_scoring.fields import CreditField
from finance.credit_scoring.model import Encoder, fit_challenger, fit_encoder, tabulate

LIBRARIES = ("xgboost", "lightgbm")
ALL_PAIRS = 10**6
FIELDS = [CreditField(name=f"f{i}", label="", risk=(1, -1, 0, 0)[i]) for i in range(4)]
ENCODERS = [Encoder(field, {}) for field in FIELDS]


def sample(missing: float, rows: int = 3000):
    """Doubles, decimals, whole numbers and amounts with an interaction; `missing` is the share of NaN."""
    rng = np.random.default_rng(0)
    x = np.column_stack(
        [
            rng.normal(size=rows),
            rng.integers(0, 1000, rows) / 1000,
            rng.integers(0, 6, rows),
            rng.lognormal(8, 1, rows).round(2),
        ]
    )
    margin = x[:, 0] - 2 * x[:, 1] + 0.8 * (x[:, 2] > 3) * (x[:, 0] > 0) - 0.0001 * x[:, 3]
    y = (rng.random(rows) < 1 / (1 + np.exp(-margin))).astype(int)
    x[rng.random(x.shape) < missing] = np.nan
    return x, y


def as_columns(x):
    return {field.name: x[:, i] for i, field in enumerate(FIELDS)}


@pytest.fixture
def boosters(monkeypatch):
    """The real boosters that were trained, in order."""
    kept = []
    for library in (xgboost, lightgbm):

        def train(*args, _real=library.train, **options):
            kept.append(_real(*args, **options))
            return kept[-1]

        monkeypatch.setattr(library, "train", train)
    return kept


def margin_of(booster, x):
    if isinstance(booster, xgboost.Booster):
        return booster.predict(xgboost.DMatrix(x), output_margin=True)
    return booster.predict(x, raw_score=True)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_tables_predict_what_the_booster_predicts(boosters, library, depth, missing):
    x, y = sample(missing)
    params = Boosting(depth=depth, rounds=30, learning_rate=0.3, min_leaf=5, subsample=0.7)
    ensemble = fit_boosting(library, params, x, y, monotone=[1, -1, 0, 0], seed=3)
    model = tabulate([ensemble], ENCODERS, x, ALL_PAIRS)
    assert {len(term.axes) for term in model.terms} == ({1} if depth == 1 else {1, 2})

    unseen = sample(0.3)[0] + 0.0005  # between the training rows, and with NaN even where training had none
    for rows in (x, unseen):
        np.testing.assert_allclose(model.predict(as_columns(rows)), margin_of(boosters[0], rows), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
def test_early_stopping_keeps_the_best_round(boosters, library):
    x, y = sample(0.1)
    params = Boosting(rounds=400, learning_rate=0.3, patience=5)
    ensemble = fit_boosting(library, params, x[:2000], y[:2000], valid=(x[2000:], y[2000:]))
    assert ensemble.rounds < 400
    model = tabulate([ensemble], ENCODERS, x, ALL_PAIRS)
    stopped = {"iteration_range": (0, ensemble.rounds)} if library == "xgboost" else {"num_iteration": ensemble.rounds}
    data = xgboost.DMatrix(x) if library == "xgboost" else x
    raw = {"output_margin": True} if library == "xgboost" else {"raw_score": True}
    expected = boosters[0].predict(data, **stopped, **raw)
    np.testing.assert_allclose(model.predict(as_columns(x)), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
def test_bags_are_averaged(boosters, library):
    x, y = sample(0.1)
    settings = ChallengerSettings(bags=3, pairs=ALL_PAIRS, boosting=Boosting(rounds=20, subsample=0.5, patience=0))
    model = fit_challenger(library, FIELDS, as_columns(x), y, settings).log_odds
    assert len(boosters) == 3
    expected = np.mean([margin_of(booster, x) for booster in boosters], axis=0)
    np.testing.assert_allclose(model.predict(as_columns(x)), expected, rtol=1e-6, atol=1e-6)


def test_purified_pairs_average_to_nothing_along_each_field():
    x, y = sample(0.1)
    ensemble = fit_boosting("lightgbm", Boosting(rounds=50), x, y)
    model = tabulate([ensemble], ENCODERS, x, ALL_PAIRS)
    columns = as_columns(x)
    pairs = [term for term in model.terms if len(term.axes) == 2]
    assert pairs
    for term in pairs:
        a, b = (axis.bins(columns[axis.field]) for axis in term.axes)
        values = term.table[a, b]
        for side, bins in ((0, a), (1, b)):
            # The axis is finer than the pair: bins that the pair does not tell apart are one.
            coarse = np.unique(term.table, axis=side, return_inverse=True)[1].ravel()[bins]
            count = np.bincount(coarse)
            mean = np.bincount(coarse, weights=values)[count > 20] / count[count > 20]
            assert abs(mean).max() < 0.01 * abs(term.table).max()


def test_only_the_strongest_pairs_are_kept():
    x, y = sample(0.1)
    ensemble = fit_boosting("lightgbm", Boosting(rounds=50), x, y)
    columns = as_columns(x)

    def pairs(most):
        model = tabulate([ensemble], ENCODERS, x, most)
        bins = {id(axis): axis.bins(columns[axis.field]) for term in model.terms for axis in term.axes}
        found = [term for term in model.terms if len(term.axes) == 2]
        return {tuple(a.field for a in term.axes): float(np.var(term.lookup(bins))) for term in found}

    every, two = pairs(ALL_PAIRS), pairs(2)
    assert pairs(0) == {}
    assert len(two) == 2 < len(every)
    assert min(two.values()) >= max(value for names, value in every.items() if names not in two)


@pytest.mark.parametrize("library", LIBRARIES)
def test_monotone_fields_stay_monotone_in_the_tables(library):
    x, y = sample(0.1)
    y = np.where(np.nan_to_num(x[:, 0]) > 1, 0, y)  # against the declared direction
    settings = ChallengerSettings(bags=2, pairs=ALL_PAIRS, boosting=Boosting(rounds=60, patience=0))
    model = fit_challenger(library, FIELDS, as_columns(x), y, settings).log_odds
    axes = {axis.field: axis for term in model.terms for axis in term.axes}
    for name, sign in (("f0", 1), ("f1", -1)):
        steps = np.array([axes[name].cuts[0] - 1, *axes[name].cuts])
        rng = np.random.default_rng(1)
        for person in x[rng.integers(0, len(x), 40)]:
            rows = {field.name: np.full(len(steps), person[i]) for i, field in enumerate(FIELDS)} | {name: steps}
            assert (sign * np.diff(model.predict(rows)) >= -1e-6).all()


def test_contributions_of_the_challenger_sum_to_the_score_exactly():
    x, y = sample(0.1)
    settings = ChallengerSettings(bags=2, boosting=Boosting(rounds=60, patience=0))
    columns = as_columns(x)
    model = fit_challenger("lightgbm", FIELDS, columns, y, settings).log_odds.to_points(Scale(), 1000, columns)
    scores = model.score(columns)
    assert (model.contributions(columns).sum(axis=1) + model.base == scores).all()
    for i in range(50):
        total, shares = model.score_one({name: float(column[i]) for name, column in columns.items()})
        assert total == model.base + sum(shares) == scores[i]
    # A pair of odd points is split in halves that still sum to it.
    assert any((term.table % 2).any() for term in model.terms if len(term.axes) == 2)


def test_categories_are_coded_by_rank_or_by_risk_and_unseen_ones_are_missing():
    codes = np.array([0, 0, 1, 1, 2, 2, 2, -1] * 40)
    y = np.array([0, 0, 1, 1, 0, 1, 0, 0] * 40)
    ordered = CreditField(name="o", label="", kind="category", levels=("c", "b", "a"), ordered=True)
    free = CreditField(name="u", label="", kind="category", levels=("a", "b", "c", "d"))
    column = (codes, ["a", "b", "c"])
    assert fit_encoder(ordered, column, y).levels == {"c": 0.0, "b": 1.0, "a": 2.0}
    risks = fit_encoder(free, column, y).levels
    assert risks["a"] < risks["c"] < risks["b"]
    encoded = fit_encoder(free, column, y).encode((np.array([1, 0, -1]), ["d", "b"]))
    assert encoded[0] == risks["b"]
    assert np.isnan(encoded[1:]).all()


def test_a_rare_level_is_drawn_to_the_average():
    codes, y = np.array([0] * 99 + [1]), np.array([0, 1, 1] * 33 + [0])
    field = CreditField(name="u", label="", kind="category", levels=("usual", "rare"))
    risks = fit_encoder(field, (codes, ["usual", "rare"]), y).levels
    assert abs(risks["rare"] - risks["usual"]) < 0.5  # its own rate, 0 of 1, would be infinitely far


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_challenger_of_categories_scores_unseen_as_missing(library):
    rng = np.random.default_rng(0)
    codes = rng.integers(-1, 3, 2000)
    y = (rng.random(2000) < np.array([0.1, 0.3, 0.6, 0.4])[codes]).astype(int)
    field = CreditField(name="u", label="", kind="category", levels=("a", "b", "c", "d"))
    settings = ChallengerSettings(bags=1, boosting=Boosting(rounds=30, patience=0))
    model = fit_challenger(library, [field], {"u": (codes, ["a", "b", "c"])}, y, settings).log_odds
    a, b, c, unseen, missing = model.predict({"u": (np.array([0, 1, 2, 3, -1]), ["a", "b", "c", "d"])})
    assert a < b < c
    assert unseen == missing


def test_without_validation_rows_the_rounds_come_from_folds_of_the_training_rows():
    x, y = sample(0.0, rows=600)
    settings = ChallengerSettings(bags=1, boosting=Boosting(rounds=200, learning_rate=0.3, patience=5))
    found = {name: fit_challenger(name, FIELDS, as_columns(x), y, settings) for name in LIBRARIES}
    for model in found.values():
        assert 1 <= model.rounds < 100
        assert 0.3 < model.loss < 0.7
