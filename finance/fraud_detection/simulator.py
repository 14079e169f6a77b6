"""Simulated card payments, by the process that the Fraud Detection Handbook describes.

Le Borgne Y.-A., Siblini W., Lebichot B., Bontempi G. (2022), Reproducible Machine Learning for Credit Card Fraud
Detection - Practical Handbook, ULB, chapter 3, 'Transaction data simulator'; written from the text.

Customers and terminals lie uniformly on a square of 100 x 100, and a customer pays only at the terminals within a
radius of 5, each equally often. Amounts are N(mean, mean / 2), where the customer's mean is U(5, 100), and U(0, 2 mean)
where that is negative; payments a day are Poisson with the customer's rate, U(0, 4), each at second N(43,200, 20,000)
and dropped if that is not within the day. Frauds, where a later scenario overwrites an earlier one:

1  every payment of more than 220
2  two terminals are drawn each day: all their payments of that day and the next 27
3  three customers are drawn each day: a third of their payments of that day and the next 13, with five times the amount

Each day is drawn from a seed of its own, so a longer run begins with the very payments of a shorter one. Two things the
Handbook does on the whole table are done day by day for that: a payment falls into the third of scenario 3 by chance
of its own (there: exactly a third of the 14 days), and one of a customer drawn twice within 14 days is multiplied once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from scipy.spatial import cKDTree

SIMULATED = "fraud-handbook-simulated"
START = 1_522_540_800_000
"""2018-04-01T00:00Z, in milliseconds since 1970."""
DAY = 86_400
"""Seconds."""
SIDE = 100
LARGE_AMOUNT = 220_00
"""Scenario 1, in cents."""
TERMINALS_A_DAY, TERMINAL_DAYS = 2, 28
"""Scenario 2."""
CUSTOMERS_A_DAY, CUSTOMER_DAYS, SHARE, FACTOR = 3, 14, 1 / 3, 5
"""Scenario 3."""


@dataclass(frozen=True)
class Payments:
    """Payments in order of time; place `i` of every array is one of them.

    `time` in milliseconds since 1970 UTC (whole seconds), `amount` in cents, `customer` and `terminal` as numbers from
    0, `scenario` 0 for a genuine payment, else 1 to 3.
    """

    time: np.ndarray
    customer: np.ndarray
    terminal: np.ndarray
    amount: np.ndarray
    scenario: np.ndarray

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True)
class World:
    """What does not change from day to day.

    Of customer `c`: `mean` in euros, `rate` in payments a day, and `reach[first[c] : first[c + 1]]`, the terminals
    within the radius. Who reaches none pays nothing and has rate 0: nobody at full size, where 20 are to be expected
    even in a corner. Places are float64 (customers or terminals, 2).
    """

    seed: int
    customer_place: np.ndarray
    terminal_place: np.ndarray
    mean: np.ndarray
    rate: np.ndarray
    first: np.ndarray
    reach: np.ndarray


@dataclass(frozen=True)
class Drawn:
    """The terminals and customers that are compromised from one day on."""

    terminals: np.ndarray
    customers: np.ndarray


def world(*, customers: int = 5_000, terminals: int = 10_000, radius: float = 5.0, seed: int = 0) -> World:
    """Draw the customers and the terminals; needs at least 3 customers and 2 terminals, else raises `ValueError`."""
    if customers < CUSTOMERS_A_DAY or terminals < TERMINALS_A_DAY or not radius > 0:
        raise ValueError(f"expected at least {CUSTOMERS_A_DAY} customers, {TERMINALS_A_DAY} terminals, a radius over 0")
    rng = np.random.default_rng([seed, 0])
    places = rng.uniform(0, SIDE, (customers, 2)), rng.uniform(0, SIDE, (terminals, 2))
    near = cKDTree(places[1]).query_ball_point(places[0], radius, return_sorted=True)
    first = np.concatenate([[0], np.cumsum([len(one) for one in near])])
    reach = np.concatenate([np.asarray(one, dtype=np.int64) for one in near])
    mean, rate = rng.uniform(5, 100, customers), rng.uniform(0, 4, customers)
    return World(seed, *places, mean=mean, rate=np.where(np.diff(first) > 0, rate, 0), first=first, reach=reach)


def drawn(world: World, day: int) -> Drawn:
    """Who is compromised from this day on (0 is the first)."""
    rng = np.random.default_rng([world.seed, day + 1, 0])
    terminals, customers = len(world.terminal_place), len(world.rate)
    return Drawn(
        rng.choice(terminals, TERMINALS_A_DAY, replace=False), rng.choice(customers, CUSTOMERS_A_DAY, replace=False)
    )


def one_day(world: World, day: int) -> Payments:
    """The payments of one day (0 is the first), without those of any other."""
    # The last number keeps this stream apart from that of `drawn`; zeros at the end would not count.
    rng = np.random.default_rng([world.seed, day + 1, 1])
    customer = np.repeat(np.arange(len(world.rate)), rng.poisson(world.rate))
    second = rng.normal(DAY / 2, 20_000, len(customer)).astype(np.int64)
    within = (second > 0) & (second < DAY)
    order = np.flatnonzero(within)[np.argsort(second[within], kind="stable")]
    customer, second = customer[order], second[order]

    euros = rng.normal(world.mean[customer], world.mean[customer] / 2)
    euros = np.where(euros < 0, rng.uniform(0, 2 * world.mean[customer]), euros)
    amount = np.rint(100 * euros).astype(np.int64)
    reached = np.diff(world.first)[customer]
    terminal = world.reach[world.first[customer] + (rng.random(len(customer)) * reached).astype(np.int64)]

    scenario = np.where(amount > LARGE_AMOUNT, 1, 0).astype(np.int8)
    since = [drawn(world, d) for d in range(max(0, day - TERMINAL_DAYS + 1), day + 1)]
    scenario[np.isin(terminal, np.concatenate([d.terminals for d in since]))] = 2
    stolen = np.isin(customer, np.concatenate([d.customers for d in since[-CUSTOMER_DAYS:]]))
    stolen &= rng.random(len(customer)) < SHARE
    scenario[stolen] = 3
    amount[stolen] *= FACTOR
    return Payments(START + 1000 * (DAY * day + second), customer, terminal, amount, scenario)


def days(
    days: int = 183, *, customers: int = 5_000, terminals: int = 10_000, radius: float = 5.0, seed: int = 0
) -> Iterator[Payments]:
    """The payments day by day, from 2018-04-01, as they are asked for; a day may be without any."""
    made = world(customers=customers, terminals=terminals, radius=radius, seed=seed)
    yield from (one_day(made, day) for day in range(days))


def simulate(
    days: int = 183, *, customers: int = 5_000, terminals: int = 10_000, radius: float = 5.0, seed: int = 0
) -> Payments:
    """All payments of the first `days` days (1 or more) at once; by default the Handbook's set, 1.8 million."""
    made = world(customers=customers, terminals=terminals, radius=radius, seed=seed)
    parts = [one_day(made, day) for day in range(days)]
    return Payments(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Payments)))
