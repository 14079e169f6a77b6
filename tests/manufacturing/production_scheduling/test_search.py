"""The compiled search against what is computed the long way round."""

from __future__ import annotations

import numpy as np
import pytest
from plants import plant

from manufacturing.production_scheduling import kernels
from manufacturing.production_scheduling.checker import check
from manufacturing.production_scheduling.data import generate
from manufacturing.production_scheduling.jobshop import as_member, as_plan, graph_of, warm
from manufacturing.production_scheduling.problem import Problem
from manufacturing.production_scheduling.search import JobShopSearch, Member, Settings
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


def flexible_shop() -> Shop:
    """Every operation has one to three machines."""
    rng = np.random.default_rng(9)
    jobs = []
    for place in range(8):
        steps = []
        for _ in range(6):
            machines = rng.choice(5, int(rng.integers(1, 4)), replace=False)
            steps.append({"durations": {f"M{m}": int(rng.integers(1, 30)) for m in machines}})
        jobs.append({"name": f"F{place}", "operations": steps, "release": place})
    return Shop(Problem.model_validate({"machines": [{"name": f"M{m}"} for m in range(5)], "jobs": jobs}))


def search_of(shop, seed, ask=lambda: False, tell=lambda found: None, settings=None) -> JobShopSearch:
    return JobShopSearch(graph_of(shop), seed, ask, tell, lambda best: None, settings)


SHOPS = {"classic": Shop(generate(10, 5, 1, 2)), "re-entrant": shop_with_lags(), "flexible": flexible_shop()}


@pytest.mark.parametrize("shop", SHOPS.values(), ids=SHOPS)
def test_moves_keep_heads_tails_and_order(shop):
    assert shop.is_job_shop()
    search = search_of(shop, 3)
    graph, walk = search.graph, search.walk
    begin = search.random_solution()
    kernels.start(graph, walk, begin.order, begin.machine)
    for _ in range(400):
        kernels.tabu(graph, walk, 1, 1 << 60, 0)
        end, tail = walk.end.copy(), walk.tail.copy()
        kernels.heads(graph, walk, 0)
        kernels.tails(graph, walk, len(shop) - 1)
        assert (end == walk.end).all()
        assert (tail == walk.tail).all()
        assert (walk.place[walk.order] == np.arange(len(shop))).all()
        assert (walk.seq[walk.at[:-1]] == np.arange(len(shop))).all()
        plan = as_plan(shop, Member(walk.order, graph.machine))
        assert max(end for _, _, end in plan) == walk.meta[kernels.MAKESPAN]
        assert check(shop.problem, shop.schedule(plan)).violations == ()
    best = as_plan(shop, Member(walk.best, walk.best_machine))
    assert check(shop.problem, shop.schedule(best)).objective == walk.meta[kernels.BEST]
    assert as_plan(shop, as_member(best)) == best


def test_solutions_between_two_are_between():
    shop = Shop(generate(8, 6, 3, 4))
    search = search_of(shop, 1)
    one, two = search.random_solution(), search.random_solution()
    whole = search.distance(one, two)
    for share in (0.2, 0.5, 0.8):
        new = search.between(one, two, share)
        assert check(shop.problem, shop.schedule(as_plan(shop, new))).violations == ()
        assert search.distance(new, one) + search.distance(new, two) == whole
    assert search.distance(one, one) == 0


@pytest.mark.parametrize("shop", [Shop(generate(10, 10, 7, 8)), SHOPS["flexible"]], ids=["classic", "flexible"])
def test_the_search_is_repeatable_and_good(shop):
    def run() -> list[int]:
        told: list[int] = []

        def tell(found: Member) -> None:
            told.append(found.makespan)

        search = search_of(shop, 5, lambda: search.searches > 6, tell, Settings(3, 2_000))
        search.run()
        return told

    one = run()
    assert one[-1] == run()[-1]
    assert one[-1] < 0.8 * one[0]


def test_what_the_search_can_do():
    assert not Shop(plant(0)).is_job_shop()
    classic = generate(3, 3, 1, 1)
    assert not Shop(classic.changed(objective={"makespan": 1, "flow": 1})).is_job_shop()
    assert Shop(classic).is_job_shop()


def test_warming_up_compiles_all_that_a_search_needs():
    warm()
    known = {name: len(getattr(kernels, name).signatures) for name in ("start", "tabu", "distance")}
    search = search_of(SHOPS["flexible"], 1, lambda: search.searches > 3, settings=Settings(2, 100))
    search.run()
    assert known == {name: len(getattr(kernels, name).signatures) for name in known}
    assert min(known.values()) > 0


def test_stops_when_asked():
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 5

    search_of(Shop(generate(50, 20, 7, 8)), 5, stop).run()
    assert 5 < asked < 10
