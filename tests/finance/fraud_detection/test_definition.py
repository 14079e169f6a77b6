from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from finance.fraud_detection.clock import DAY, HOUR, MINUTE
from finance.fraud_detection.definition import Definition, features, spoken

ONE = Definition(entities=("customer",), partners=("customer",), windows=(HOUR, DAY, 7 * DAY), risk_windows=(DAY,))
T = 1_522_540_800_000 + 6 * HOUR  # 2018-04-01, a Sunday


def of(counts: dict[str, int], time: int = T, amount: int = 1500, definition: Definition = ONE) -> dict[str, float]:
    table = np.zeros((1, len(definition.entities), definition.counts), np.int64)
    for e, names in enumerate(definition.count_names):
        for place, name in enumerate(names):
            none = -1 if name.endswith(("last_time", "last_fraud", "first_fraud")) else 0
            table[0, e, place] = counts.get(name, none)
    windows = np.array(definition.windows)
    risk, calendar = len(definition.risk_windows), definition.calendar
    x = features(table, np.array([time]), np.array([amount]), windows, risk, calendar)
    assert x.dtype == np.float32
    return dict(zip(definition.names, x[0].tolist(), strict=True))


def test_features_of_a_known_customer():
    found = of(
        {
            "customer_count_1h": 1,
            "customer_count_1d": 2,
            "customer_count_7d": 4,
            "customer_sum_1h": 500,
            "customer_sum_1d": 2000,
            "customer_sum_7d": 6000,
            "customer_customers_7d": 1,
            "customer_squares": 4 * 1500**2 + 4 * 300**2,
            "customer_largest": 2100,
            "customer_last_time": T - 90_000,
            "customer_known_1d": 4,
            "customer_frauds_1d": 1,
            "customer_last_fraud": T - 8 * DAY,
            "customer_first_fraud": T - 9 * DAY,
            "customer_good_since_fraud": 2,
        }
    )
    expected = {
        "amount": 15,
        "hour": 6,
        "weekday": 6,
        "customer_count_1h": 1,
        "customer_mean_1h": 5,
        "customer_ratio_1h": 3,
        "customer_mean_1d": 10,
        "customer_mean_7d": 15,
        "customer_ratio_7d": 1,
        "customer_customers_7d": 1,
        "customer_deviation": 0,
        "customer_largest": 21,
        "customer_since_last": 90,
        "customer_velocity": 1,  # the third window over the last, which here are one
        "customer_known_1d": 4,
        "customer_frauds_1d": 1,
        "customer_risk_1d": 0.25,
        "customer_since_fraud": 192,
        "customer_since_first_fraud": 216,
        "customer_good_since_fraud": 2,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    spread = {"customer_count_7d": 4, "customer_sum_7d": 6000, "customer_squares": 4 * (1500**2 + 300**2)}
    assert of(spread, amount=1900)["customer_deviation"] == pytest.approx(1)  # 4 over (3 + 1)


def test_nothing_known_is_not_a_number():
    found = of({}, amount=0)
    numbers = {name: value for name, value in found.items() if not np.isnan(value)}
    zero = {name for name in numbers if name.endswith(("_1h", "_1d", "_7d"))}
    assert numbers == {"amount": 0, "hour": 6, "weekday": 6} | dict.fromkeys(zero, 0)
    assert zero == {
        *(f"customer_{what}_{window}" for what in ("count", "customers") for window in ("1h", "1d", "7d")),
        "customer_known_1d",
        "customer_frauds_1d",
    }
    free = of({"customer_count_7d": 3}, definition=ONE.model_copy(update={"calendar": False}))
    assert np.isnan([free["hour"], free["weekday"], free["customer_ratio_7d"]]).all()  # gifts only: a mean of 0


def test_a_row_depends_on_itself_alone():
    definition = Definition()
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 1000, (50, 2, definition.counts))
    time, amount, windows = rng.integers(0, 10**12, 50), rng.integers(0, 10**6, 50), np.array(definition.windows)
    together = features(counts, time, amount, windows, 3, True)
    alone = [features(counts[[i]], time[[i]], amount[[i]], windows, 3, True) for i in range(50)]
    np.testing.assert_array_equal(together, np.concatenate(alone))


@pytest.mark.parametrize("entities", [("customer",), ("customer", "terminal"), ("a", "b", "c")])
def test_every_column_and_count_has_one_name(entities):
    definition = Definition(entities=entities, partners=entities[::-1], windows=(1500, MINUTE), risk_windows=(DAY,))
    counts = np.zeros((2, len(entities), definition.counts), np.int64)
    time = np.zeros(2, np.int64)
    x = features(counts, time, time, np.array(definition.windows), 1, True)
    assert x.shape[1] == len(definition.names) == len(set(definition.names))
    names = [name for some in definition.count_names for name in some]
    assert len(names) == len(set(names)) == len(entities) * definition.counts


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"windows": (HOUR, MINUTE)}, "ascending"),
        ({"windows": (0, HOUR)}, "positive"),
        ({"windows": ()}, "at least 1"),
        ({"risk_windows": (DAY, DAY)}, "ascending"),
        ({"partners": ("customer",)}, "one of the entities for each"),
        ({"partners": ("customer", "ip")}, "one of the entities for each"),
        ({"entities": ("customer", "customer"), "partners": ("customer", "customer")}, "each once"),
        ({"delay": -1}, "greater than or equal to 0"),
        ({"deepest": 0}, "greater than or equal to 1"),
        ({"days": 3}, "not permitted"),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused(changes, told):
    with pytest.raises(ValidationError, match=told):
        Definition(**changes)


def test_what_decides_the_counts():
    usual = Definition()
    assert usual.horizon == 37 * DAY
    assert Definition(delay=0, risk_windows=(DAY,)).horizon == 30 * DAY
    assert usual.partner_of.tolist() == [1, 0]
    assert usual.counted == Definition(calendar=False).counted
    assert usual.counted != Definition(deepest=100).counted
    assert [spoken(value) for value in (90_000, 7 * DAY, 2 * HOUR, 1500)] == ["90s", "7d", "2h", "1500ms"]


def test_how_far_back_a_feature_looks():
    back = ONE.lookback
    assert list(back) == ONE.names
    assert (back["amount"], back["customer_ratio_1d"], back["customer_velocity"]) == (0, DAY, 7 * DAY)
    assert (back["customer_risk_1d"], back["customer_since_fraud"]) == (8 * DAY, 8 * DAY)
    assert max(back.values()) == ONE.horizon
    assert Definition.model_validate(ONE.model_dump()) == ONE  # what is kept of it makes no other one
