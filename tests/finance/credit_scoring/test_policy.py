from __future__ import annotations

import numpy as np
import pytest

from finance.credit_scoring.config import Costs
from finance.credit_scoring.policy import cheapest_cutoff, cost, most_profitable_cutoff


def people(seed: int, rows: int = 400):
    rng = np.random.default_rng(seed)
    score = rng.normal(600, 40, rows).round(0 if seed % 2 else 3)  # odd seeds: many ties
    y = (rng.random(rows) < 1 / (1 + np.exp((score - 590) / 25))).astype(int)
    return score, y, rng.lognormal(8, 1, rows)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("costs", [Costs(), Costs(accept_bad=1), Costs(accept_bad=40), Costs(reject_good=0.1)])
def test_no_cutoff_is_cheaper_than_the_cheapest(seed, costs):
    score, y, _ = people(seed)
    found = cheapest_cutoff(score, y, costs)
    every = [cost(score >= cutoff, y, costs) for cutoff in [*np.unique(score), np.inf]]
    assert cost(score >= found.score, y, costs) == pytest.approx(min(every))
    assert found.value == pytest.approx(min(every))
    assert found.approval_rate == pytest.approx((score >= found.score).mean())


@pytest.mark.parametrize("seed", range(6))
def test_no_cutoff_is_more_profitable_than_the_most_profitable(seed):
    score, y, amount = people(seed)
    costs = Costs(margin=0.2)

    def profit(cutoff):
        return (amount * np.where(y == 1, -costs.loss_given_default, costs.margin) * (score >= cutoff)).sum() / len(y)

    found = most_profitable_cutoff(score, y, amount, costs)
    assert found.value == pytest.approx(max(profit(cutoff) for cutoff in [*np.unique(score), np.inf]))
    assert profit(found.score) == pytest.approx(found.value)


def test_nobody_is_approved_when_everybody_defaults():
    score, y = np.array([1.0, 2.0, 3.0]), np.ones(3, int)
    found = cheapest_cutoff(score, y, Costs())
    assert not (score >= found.score).any()
    assert found.approval_rate == 0
    assert found.value == 0


def test_everybody_is_approved_when_nobody_defaults():
    score, y = np.array([1.0, 2.0, 3.0]), np.zeros(3, int)
    found = cheapest_cutoff(score, y, Costs())
    assert (found.score, found.approval_rate, found.value) == (1.0, 1.0, 0.0)


def test_of_equally_cheap_cutoffs_the_safest():
    """Approving 2.0 and 1.0 as well changes nothing: five good for one bad at 5:1."""
    score = np.array([3.0] * 5 + [2.0] * 5 + [1.0])
    y = np.array([0] * 10 + [1])
    y[5:] = [0, 0, 0, 0, 0, 1]
    assert cheapest_cutoff(score, y, Costs()).score == 2.0
    tied = np.array([3.0] * 5 + [2.0] * 6)
    assert cheapest_cutoff(tied, np.array([0] * 10 + [1]), Costs()).score == 3.0


@pytest.mark.parametrize("seed", range(3))
def test_weighted_rows_are_decided_as_that_many_people(seed):
    score, y, amount = people(seed)
    times = np.where(y == 1, 1, 3)
    many = [np.repeat(values, times) for values in (score, y, amount)]
    assert cheapest_cutoff(score, y, Costs(), times) == cheapest_cutoff(many[0], many[1], Costs())
    weighted, repeated = (
        most_profitable_cutoff(score, y, amount, Costs(), times),
        most_profitable_cutoff(*many, Costs()),
    )
    assert weighted.model_dump(exclude={"value"}) == repeated.model_dump(exclude={"value"})
    assert weighted.value == pytest.approx(repeated.value)
