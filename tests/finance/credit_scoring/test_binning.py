from __future__ import annotations

import numpy as np
import pytest
from optbinning import OptimalBinning

from finance.credit_scoring.additive import Scale
from finance.credit_scoring.binning import bin_variable, describe_bins
from finance.credit_scoring.config import Binning, ScorecardSettings, VariableBinning
from finance.credit_scoring.fields import CreditField
from finance.credit_scoring.scorecard import Scorecard, fit_scorecard

CONFIG = Binning()
AGE = CreditField(name="age", label="", risk=-1)


def overriding(name: str, **values) -> Binning:
    return Binning(overrides={name: VariableBinning(**values)})


def rates(binned):
    """Bad rate of the intervals in order."""
    intervals = slice(len(binned.axis.cuts) + 1)
    return binned.bads[intervals] / (binned.bads + binned.goods)[intervals]


@pytest.fixture
def ages():
    """Risk falls with age; every tenth age is missing, every seventh the code -1."""
    rng = np.random.default_rng(0)
    age = rng.uniform(18, 75, 4000)
    y = (rng.random(4000) < 1 / (1 + np.exp((age - 35) / 8))).astype(int)
    age[::10], age[::7] = np.nan, -1
    return age, y


@pytest.mark.parametrize(("risk", "trend"), [(-1, "descending"), (1, "ascending"), (0, "auto_heuristic")])
def test_cuts_are_those_of_optbinning_on_the_regular_values(ages, risk, trend):
    age, y = ages
    field = CreditField(name="age", label="", risk=risk, special=(-1,))
    regular = ~(np.isnan(age) | (age == -1))
    theirs = OptimalBinning(
        dtype="numerical",
        max_n_prebins=CONFIG.max_prebins,
        min_prebin_size=CONFIG.min_bin,
        monotonic_trend=trend,
    ).fit(age[regular], y[regular])
    binned = bin_variable(field, age, y, CONFIG)
    np.testing.assert_allclose(binned.axis.cuts, theirs.splits, rtol=0.5e-5)
    table = theirs.binning_table.build()
    ours = (binned.goods + binned.bads)[: len(theirs.splits) + 1]
    assert ours.tolist() == table["Count"].iloc[: len(ours)].tolist()


def test_special_codes_and_missing_have_bins_of_their_own(ages):
    age, y = ages
    age[3] = 99.0
    field = CreditField(name="age", label="", risk=-1, special=(-1, 99.0))
    binned = bin_variable(field, age, y, CONFIG)
    codes, missing = binned.axis.codes, binned.axis.missing
    assert len({codes[-1], codes[99.0], missing}) == 3
    assert min(codes[-1], codes[99.0], missing) > len(binned.axis.cuts)
    total = binned.goods + binned.bads
    assert (total[codes[-1]], total[codes[99.0]]) == ((age == -1).sum(), 1)
    assert total[missing] == np.isnan(age).sum()
    assert total.sum() == len(age)
    assert all(cut > 18 for cut in binned.axis.cuts)  # a code has no part in finding the cuts


def test_an_override_of_special_codes_replaces_the_field_s(ages):
    age, y = ages
    binned = bin_variable(CreditField(name="age", label="", special=(-1,)), age, y, overriding("age", special=(-1, 40)))
    assert set(binned.axis.codes) == {-1, 40}


def test_missing_can_join_the_bin_of_the_nearest_risk(ages):
    age, y = ages
    own = bin_variable(AGE, age, y, CONFIG)
    merged = bin_variable(AGE, age, y, overriding("age", missing="merge"))
    others = list(range(len(own.axis.cuts) + 1))
    nearest = min(others, key=lambda i: abs(own.woe[i] - own.woe[own.axis.missing]))
    assert own.axis.missing not in others
    assert merged.axis.missing == nearest
    total = merged.goods + merged.bads
    assert total[nearest] == (own.goods + own.bads)[[nearest, own.axis.missing]].sum()
    assert merged.axis.bin(None) == nearest


def test_missing_can_join_a_group_of_levels():
    rng = np.random.default_rng(0)
    codes = rng.integers(-1, 3, 3000)
    y = (rng.random(3000) < np.array([0.1, 0.3, 0.6, 0.58])[codes]).astype(int)
    field = CreditField(name="home", label="", kind="category", levels=("a", "b", "c"))
    merged = bin_variable(field, (codes, ["a", "b", "c"]), y, overriding("home", missing="merge"))
    assert merged.axis.missing == merged.axis.codes["c"]
    assert merged.axis.other not in merged.axis.codes.values()


@pytest.mark.parametrize(("trend", "shape"), [("ascending", 1), ("descending", -1)])
def test_a_trend_holds_whatever_the_data_say(ages, trend, shape):
    age, y = ages
    binned = bin_variable(CreditField(name="age", label=""), age, y, overriding("age", trend=trend))
    assert (shape * np.diff(rates(binned)) > 0).all()


@pytest.mark.parametrize(("trend", "sign"), [("peak", 1), ("valley", -1)])
def test_a_peak_and_a_valley_are_found(trend, sign):
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, 6000)
    y = (rng.random(6000) < 0.5 + sign * (0.3 - 0.2 * x**2) * 0.9).astype(int)
    binned = bin_variable(CreditField(name="x", label=""), x, y, overriding("x", trend=trend))
    steps = sign * np.diff(rates(binned))
    turn = int(np.argmax(steps < 0))
    assert 0 < turn < len(steps)
    assert (steps[:turn] > 0).all()
    assert (steps[turn:] < 0).all()


def test_fixed_cuts_and_a_limit_of_bins_are_obeyed(ages):
    age, y = ages
    assert bin_variable(AGE, age, y, overriding("age", cuts=(25.0, 40.0))).axis.cuts == (25.0, 40.0)
    assert len(bin_variable(AGE, age, y, overriding("age", max_bins=3)).axis.cuts) <= 2


def test_woe_is_the_log_odds_against_the_average_with_smoothing():
    x = np.array([0.0] * 60 + [1.0] * 40)
    y = np.array([1] * 10 + [0] * 50 + [1] * 20 + [0] * 20)
    config = Binning(smoothing=2, overrides={"x": VariableBinning(cuts=(0.5,))})
    binned = bin_variable(CreditField(name="x", label=""), x, y, config)
    expected = [np.log((10 + 0.6) / (50 + 1.4)), np.log((20 + 0.6) / (20 + 1.4))] - np.log(30 / 70)
    np.testing.assert_allclose(binned.woe[:2], expected)
    assert binned.woe[2] == pytest.approx(0)  # nobody is missing: neutral, not infinite
    shares = np.array([10, 20]) / 30 - np.array([50, 20]) / 70
    assert binned.iv == pytest.approx(shares @ expected)


def test_weights_count_as_rows(ages):
    age, y = ages
    config = overriding("age", cuts=(30.0, 45.0))
    weight = np.random.default_rng(1).integers(1, 4, len(y))
    weighted = bin_variable(AGE, age, y, config, weight.astype(float))
    repeated = bin_variable(AGE, np.repeat(age, weight), np.repeat(y, weight), config)
    np.testing.assert_allclose(weighted.bads, repeated.bads)
    np.testing.assert_allclose(weighted.woe, repeated.woe)


def test_ordered_levels_merge_with_neighbours_only():
    rng = np.random.default_rng(0)
    levels = ("none", "low", "middle", "high", "top")
    field = CreditField(name="savings", label="", kind="category", levels=levels, ordered=True, risk=-1)
    codes = rng.integers(0, 5, 3000)
    y = (rng.random(3000) < np.array([0.5, 0.3, 0.36, 0.1, 0.1])[codes]).astype(int)
    binned = bin_variable(field, (codes, list(levels)), y, CONFIG)
    groups = [binned.axis.codes[level] for level in levels]
    assert groups == sorted(groups)
    assert 2 <= len(set(groups)) < 5


@pytest.mark.parametrize("column", [np.full(500, 3.0), np.full(500, np.nan)])
def test_a_column_of_one_value_carries_no_information(column):
    y = np.arange(500) % 2
    binned = bin_variable(CreditField(name="x", label=""), column, y, CONFIG)
    assert binned.axis.cuts == ()
    assert binned.iv == pytest.approx(0)


def test_the_description_has_every_bin_with_rows_rate_and_points(ages):
    age, y = ages
    fields = [CreditField(name="age", label="", risk=-1, special=(-1,))]
    card: Scorecard = fit_scorecard(fields, {"age": age}, y, CONFIG, ScorecardSettings())
    model = card.log_odds.to_points(Scale(), 1, {"age": age})
    rows = describe_bins(card.variables, model)
    assert [row["bin"] for row in rows[-2:]] == ["-1.0", "missing"]
    assert rows[0]["bin"].startswith("[-inf, ")
    assert sum(row["rows"] for row in rows) == len(age)
    for row in rows[:-2]:  # a cut in the label is the cut of the model, to the last digit
        low = float(row["bin"][1:].split(",")[0])
        assert row["points"] == model.score_one({"age": max(low, 18.0)})[1][0]


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e9])
def test_cuts_have_significant_digits_whatever_the_unit(ages, scale):
    age, y = ages
    cuts = [bin_variable(AGE, np.where(age > 0, age * s, np.nan), y, CONFIG).axis.cuts for s in (1.0, scale)]
    assert len(cuts[0]) > 3
    np.testing.assert_allclose(cuts[1], np.array(cuts[0]) * scale, rtol=2e-5)
    assert all(len(f"{cut:.15g}".strip("0.").replace(".", "").partition("e")[0]) <= 6 for cut in cuts[0])
