from __future__ import annotations

from dataclasses import fields
from itertools import islice

import numpy as np
import pytest
from scipy.stats import kstest, norm, truncnorm

from finance.fraud_detection.simulator import DAY, START, Payments, days, drawn, one_day, simulate, world

NAMES = [field.name for field in fields(Payments)]


@pytest.fixture(scope="module")
def made():
    """The Handbook's world, seed 0."""
    return world()


@pytest.fixture(scope="module")
def full():
    """The Handbook's set, seed 0."""
    return simulate()


def day_of(payments):
    return (payments.time - START) // (1000 * DAY)


def same(first, second):
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in NAMES)


def head(payments, count):
    return Payments(*(getattr(payments, name)[:count] for name in NAMES))


def test_the_world_is_as_described(made):
    assert made.customer_place.shape == (5000, 2)
    assert made.terminal_place.shape == (10000, 2)
    for values, low, high in (
        *((places[:, i], 0, 100) for places in (made.customer_place, made.terminal_place) for i in (0, 1)),
        (made.mean, 5, 100),
        (made.rate, 0, 4),
    ):
        assert kstest(values, "uniform", (low, high - low)).pvalue > 0.01
    numbers = np.corrcoef([made.mean, made.rate, *made.customer_place.T])
    assert np.abs(numbers - np.eye(4)).max() < 0.05


def test_a_customer_reaches_the_terminals_within_the_radius_and_no_other():
    small = world(customers=300, terminals=900, radius=7.5, seed=3)
    apart = np.linalg.norm(small.customer_place[:, None] - small.terminal_place[None], axis=2)
    for customer in range(300):
        reached = small.reach[small.first[customer] : small.first[customer + 1]]
        assert reached.tolist() == np.flatnonzero(apart[customer] <= 7.5).tolist()


def test_the_full_set_has_the_published_size_and_shares(full, made):
    """The Handbook counts 1,754,155 payments: 14,681 frauds, by scenario 978, 9,099 and 4,604."""
    assert len(full) == pytest.approx(1_754_155, rel=0.03)
    assert (full.scenario > 0).mean() == pytest.approx(0.0084, abs=0.0004)
    found = np.bincount(full.scenario, minlength=4)
    assert found[1:] == pytest.approx([978, 9099, 4604], rel=0.15)
    assert (full.time[0] // 1000 - 1522540800) // DAY == 0
    assert set(day_of(full)) == set(range(183))
    assert (np.diff(full.time) >= 0).all()
    today = np.bincount(day_of(full))
    running = np.arange(1, 184)
    expected = (today * np.minimum(running, 28)).sum() * 2 / 10_000
    assert found[2] == pytest.approx(expected, rel=0.08)
    expected = (today * np.minimum(running, 14)).sum() * 3 / 5_000 / 3
    assert found[3] == pytest.approx(expected, rel=0.12)


def test_payments_a_day_are_poisson_with_the_customer_s_rate(full, made):
    within = norm.cdf(DAY, DAY / 2, 20_000) - norm.cdf(1, DAY / 2, 20_000)
    expected = made.rate * 183 * within
    found = np.bincount(full.customer, minlength=5000)
    assert found.sum() == pytest.approx(expected.sum(), abs=4 * np.sqrt(expected.sum()))
    often = expected > 20
    deviation = (found[often] - expected[often]) / np.sqrt(expected[often])
    assert deviation.std() == pytest.approx(1, abs=0.05)
    # Within the 183 days too: the busiest customers have no quieter day than chance gives.
    busy = np.argsort(made.rate)[-100:]
    table = np.histogram2d(full.customer, day_of(full), bins=[np.arange(5001), np.arange(184)])[0][busy]
    assert (table.var(axis=1) / table.mean(axis=1)).mean() == pytest.approx(1, abs=0.05)


def test_the_time_of_day_is_a_normal_cut_to_the_day(full):
    second = full.time // 1000 % DAY
    assert (full.time % 1000 == 0).all()
    assert second.min() > 0
    ends = (np.array([0, DAY]) - DAY / 2) / 20_000
    assert kstest(second + 0.5, truncnorm(*ends, DAY / 2, 20_000).cdf).statistic < 0.003


def test_amounts_are_normal_and_negative_ones_are_drawn_again_uniformly(full, made):
    mean = made.mean[full.customer]
    usual = full.scenario != 3
    deviation = (full.amount / 100 - mean)[usual] / (mean[usual] / 2)
    below = norm.cdf(-2)

    def share(z):
        return np.where(z < -2, 0, norm.cdf(z) - below + below * np.minimum((z + 2) / 4, 1))

    assert kstest(deviation, share).statistic < 0.003
    assert full.amount.min() >= 0
    assert full.amount.dtype == np.int64


def test_a_customer_uses_the_terminals_in_reach_equally_often(full, made):
    count = np.diff(made.first)[full.customer]
    place = np.empty(len(full))
    for customer in range(0, 5000, 100):
        mine = full.customer == customer
        reached = made.reach[made.first[customer] : made.first[customer + 1]]
        assert np.isin(full.terminal[mine], reached).all()
        place[mine] = np.searchsorted(reached, full.terminal[mine])
    looked_at = full.customer % 100 == 0
    assert kstest((place[looked_at] + 0.5) / count[looked_at], "uniform").statistic < 0.015


def test_frauds_are_those_of_the_three_scenarios():
    """Told payment by payment from who was drawn on which day."""
    setting = {"customers": 200, "terminals": 300, "radius": 12, "seed": 5}
    small, payments = world(**setting), simulate(60, **setting)
    draws = [drawn(small, day) for day in range(60)]
    assert all(len(set(draw.terminals)) == 2 and len(set(draw.customers)) == 3 for draw in draws)
    stolen, multiplied = 0, 0
    for day, customer, terminal, amount, scenario in zip(
        day_of(payments), payments.customer, payments.terminal, payments.amount, payments.scenario, strict=True
    ):
        at_risk = any(customer in draws[d].customers for d in range(max(0, day - 13), day + 1))
        stolen, multiplied = stolen + at_risk, multiplied + (scenario == 3)
        if scenario == 3:
            assert at_risk
            assert amount % 5 == 0
            continue
        skimmed = any(terminal in draws[d].terminals for d in range(max(0, day - 27), day + 1))
        assert scenario == (2 if skimmed else 1 if amount > 220_00 else 0)
    assert multiplied == pytest.approx(stolen / 3, abs=4 * np.sqrt(stolen * 2 / 9))


def test_stolen_cards_pay_five_times_the_amount(full, made):
    relative = full.amount / (100 * made.mean[full.customer])
    usual, stolen = (relative[full.scenario == scenario].mean() for scenario in (0, 3))
    assert stolen / usual == pytest.approx(5, rel=0.03)


def test_everybody_is_drawn_alike(made):
    draws = [drawn(made, day) for day in range(3000)]
    assert kstest(np.concatenate([draw.terminals for draw in draws]) / 10_000, "uniform").pvalue > 0.01
    assert kstest(np.concatenate([draw.customers for draw in draws]) / 5_000, "uniform").pvalue > 0.01


def test_a_longer_run_begins_with_a_shorter_one():
    setting = {"customers": 400, "terminals": 800, "seed": 9}
    short, long = simulate(20, **setting), simulate(45, **setting)
    assert 0 < len(short) < len(long)
    assert same(short, head(long, len(short)))
    last = one_day(world(**setting), 44)
    assert same(last, Payments(*(getattr(long, name)[-len(last) :] for name in NAMES)))


def test_days_come_one_by_one_and_only_when_asked_for():
    setting = {"customers": 400, "terminals": 800, "seed": 9}
    lazy = list(islice(days(10**9, **setting), 20))
    joined = Payments(*(np.concatenate([getattr(day, name) for day in lazy]) for name in NAMES))
    assert same(joined, simulate(20, **setting))
    assert [set(day_of(day)) for day in lazy] == [{day} for day in range(20)]


def test_a_seed_repeats_and_another_differs():
    assert same(simulate(3, seed=4), simulate(3, seed=4))
    first, second = simulate(3, seed=0), simulate(3, seed=1)
    assert np.isin(first.time * 10_000 + first.terminal, second.time * 10_000 + second.terminal).mean() < 0.01
    # Neither does a day repeat another's draws.
    yesterday, today = (one_day(world(), day) for day in (0, 1))
    count = min(len(yesterday), len(today))
    assert (yesterday.amount[:count] == today.amount[:count]).mean() < 0.01


def test_who_reaches_no_terminal_pays_nothing():
    lonely = world(customers=300, terminals=40, seed=2)
    without = np.flatnonzero(np.diff(lonely.first) == 0)
    assert 50 < len(without) < 250
    assert (lonely.rate[without] == 0).all()
    payments = simulate(10, customers=300, terminals=40, seed=2)
    assert len(payments) > 0
    assert not np.isin(payments.customer, without).any()
    assert len(simulate(2, customers=3, terminals=2, radius=1e-9)) == 0


@pytest.mark.parametrize("wrong", [{"customers": 2}, {"terminals": 1}, {"radius": 0}])
def test_too_small_a_world_is_refused(wrong):
    with pytest.raises(ValueError, match="at least 3 customers, 2 terminals"):
        simulate(2, **wrong)
