"""The compiled search against what is computed the long way round."""

from __future__ import annotations

import time

import numpy as np
import pytest
from plants import plant

from manufacturing.production_scheduling import kernels
from manufacturing.production_scheduling.checker import check
from manufacturing.production_scheduling.data import generate
from manufacturing.production_scheduling.jobshop import as_order, as_plan, graph_of
from manufacturing.production_scheduling.problem import Problem
from manufacturing.production_scheduling.search import JobShopSearch, Settings, new_walk
from manufacturing.production_scheduling.shop import Shop


def shop_with_lags() -> Shop:
    """Re-entrant, with releases and transport."""
    problem = generate(6, 4, 5, 6)
    jobs = []
    for place, job in enumerate(problem.jobs):
        steps = [*job.operations, job.operations[0]]
        steps = [s.model_copy(update={"lag": 7 * (k < len(steps) - 1)}) for k, s in enumerate(steps)]
        jobs.append(job.model_copy(update={"operations": tuple(steps), "release": 3 * place, "name": f"R{place}"}))
    return Shop(Problem(machines=problem.machines, jobs=[job.model_dump() for job in jobs]))


@pytest.mark.parametrize("shop", [Shop(generate(10, 5, 1, 2)), shop_with_lags()], ids=["classic", "re-entrant"])
def test_moves_keep_heads_tails_and_order(shop):
    assert shop.is_classic()
    graph, walk = graph_of(shop), new_walk(graph_of(shop), 3)
    search = JobShopSearch(graph, 3, lambda: False, lambda order, makespan: None, lambda best: None)
    kernels.start(graph, walk, search.random_order())
    for _ in range(300):
        kernels.tabu(graph, walk, 1, 1 << 60, 0)
        end, tail = walk.end.copy(), walk.tail.copy()
        kernels.heads(graph, walk, 0)
        kernels.tails(graph, walk, len(shop) - 1)
        assert (end == walk.end).all()
        assert (tail == walk.tail).all()
        assert (walk.place[walk.order] == np.arange(len(shop))).all()
        plan = as_plan(shop, walk.order)
        assert max(end for _, _, end in plan) == walk.meta[kernels.MAKESPAN]
    best = as_plan(shop, walk.best)
    assert check(shop.problem, shop.schedule(best)).objective == walk.meta[kernels.BEST]
    assert (as_order(best)[np.sort(as_order(best)).argsort()] >= 0).all()


def test_solutions_between_two_are_between():
    shop = Shop(generate(8, 6, 3, 4))
    graph = graph_of(shop)
    search = JobShopSearch(graph, 1, lambda: False, lambda order, makespan: None, lambda best: None)
    one, two = search.random_order(), search.random_order()
    whole = kernels.distance(graph, search.walk, one, two)
    for share in (0.2, 0.5, 0.8):
        new = search.between(one, two, share)
        check(shop.problem, shop.schedule(as_plan(shop, new)))
        near, far = (kernels.distance(graph, search.walk, new, other) for other in (one, two))
        assert near + far == whole
    assert kernels.distance(graph, search.walk, one, one) == 0


def test_the_search_is_repeatable_and_good():
    shop = Shop(generate(10, 10, 7, 8))

    def run() -> list[int]:
        told: list[int] = []
        search = JobShopSearch(
            graph_of(shop),
            5,
            lambda: search.searches > 6,
            lambda order, makespan: told.append(makespan),
            lambda best: None,
            Settings(pool=3, patience=2_000),
        )
        search.run()
        return told

    one = run()
    assert one[-1] == run()[-1]
    assert one[-1] < 0.8 * one[0]


def test_what_the_search_can_do():
    assert not Shop(plant(0)).is_classic()
    classic = generate(3, 3, 1, 1)
    assert not Shop(classic.changed(objective={"makespan": 1, "flow": 1})).is_classic()
    assert Shop(classic).is_classic()


def test_stops_when_asked():
    shop = Shop(generate(50, 20, 7, 8))
    began = time.perf_counter()
    search = JobShopSearch(
        graph_of(shop), 5, lambda: time.perf_counter() - began > 0.5, lambda o, m: None, lambda b: None
    )
    search.run()
    assert time.perf_counter() - began < 2.0
