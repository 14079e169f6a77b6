"""The tabu search as one of those who race: a job shop as arrays, and plans to and fro."""

from __future__ import annotations

import time

import numpy as np

from manufacturing.production_scheduling.kernels import Graph
from manufacturing.production_scheduling.problem import Problem
from manufacturing.production_scheduling.search import JobShopSearch, Member, Settings
from manufacturing.production_scheduling.shop import Plan, Shop
from manufacturing.production_scheduling.solve import RELAY, Race

SOURCE = "tabu"
MOST_LOCAL = 2048
"""Numbers of operations in the table of what is tabu: those that share one are tabu together, and 10,000 take 80 MB."""


def search_job_shop(race: Race, seed: int, until: float, settings: Settings | None = None) -> None:
    """Search until the race is over or the clock (`time.perf_counter`) shows `until`."""
    shop = race.shop
    waiting: Member | None = None
    told = 0.0
    weight = shop.problem.objective.makespan

    def flush(force: bool = False) -> None:
        nonlocal waiting, told
        if waiting and (force or time.perf_counter() - told > RELAY):
            found, waiting = waiting, None
            race.offer(as_plan(shop, found), SOURCE)
            told = time.perf_counter()

    def tell(found: Member) -> None:
        nonlocal waiting
        if race.objective is None or weight * found.makespan < race.objective:
            waiting = found
            flush(force=weight * found.makespan <= race.bound)

    def ask() -> bool:
        flush()
        return race.over() or time.perf_counter() >= until

    def fetch(best: int) -> Member | None:
        plan, objective = race.plan, race.objective
        return as_member(plan) if plan is not None and objective is not None and objective < weight * best else None

    search = JobShopSearch(graph_of(shop), seed, ask, tell, fetch, settings, target=-(-race.bound // weight))
    search.run()
    flush(force=True)


def warm() -> None:
    """Compile the loops, or read them from numba's cache: 20 s that should not be those of somebody's first plan."""
    problem = Problem.model_validate(
        {"machines": [{"name": "M"}], "jobs": [{"name": "J", "operations": [{"durations": {"M": 1}}]}]}
    )
    graph = graph_of(Shop(problem))
    search = JobShopSearch(graph, 0, lambda: False, lambda found: None, lambda best: None)
    begin = search.random_solution()
    search.improve(begin, 1)
    search.distance(begin, begin)


def graph_of(shop: Shop) -> Graph:
    """The arrays of a job shop; the tabu tenure is Zhang's (2007): 10 + n/m to 1.4 (1.5 above n = 2 m) times that."""
    n, jobs, machines = len(shop), len(shop.jobs), len(shop.machines)

    def room(value: int = 0, count: int = n + 1) -> np.ndarray:
        return np.full(count, value, np.int32)

    options = [list(step.options.items()) for step in shop.steps]
    eligible = np.bincount([machine for some in options for machine, _ in some], minlength=machines)
    flexible = sum(eligible) > n
    graph = Graph(
        duration=room(),
        release=room(),
        wait=room(),
        lag=room(),
        before=room(n),
        after=room(n),
        machine=room(),
        local=np.arange(n + 1, dtype=np.int32) % MOST_LOCAL if flexible else room(),
        first=(1 + np.cumsum([0, *(eligible[:-1] + 1)])).astype(np.int32),
        tenure=np.zeros(2, np.int64),
        option=np.cumsum([0, *map(len, options)]).astype(np.int32),
        machines=np.array([machine for some in options for machine, _ in some], np.int32),
        durations=np.array([duration for some in options for _, duration in some], np.int32),
    )
    counts = [0] * machines
    for step in shop.steps:
        o = step.number
        graph.machine[o], graph.duration[o] = options[o][0]
        graph.release[o], graph.lag[o] = step.earliest, step.lag
        if not flexible:
            graph.local[o] = counts[graph.machine[o]]
            counts[graph.machine[o]] += 1
        for other in step.before:
            graph.before[o], graph.after[other], graph.wait[o] = other, o, shop.steps[other].lag
    least = 10 + jobs / machines
    graph.tenure[:] = int(least), int(least * (1.4 if jobs <= 2 * machines else 1.5))
    return graph


def as_member(plan: Plan) -> Member:
    """The operations by start: a linear order that keeps that of every job and machine, as no duration is 0."""
    order = np.argsort([start for _, start, _ in plan], kind="stable").astype(np.int32)
    return Member(order, np.array([machine for machine, _, _ in plan], np.int32))


def as_plan(shop: Shop, found: Member) -> Plan:
    """Every operation as early as a linear order allows."""
    free = [0] * len(shop.machines)
    ends = [0] * len(shop)
    plan: Plan = [(0, 0, 0)] * len(shop)
    for o in found.order.tolist():
        step, machine = shop.steps[o], int(found.machine[o])
        start = max(free[machine], step.earliest, *(ends[other] + shop.steps[other].lag for other in step.before), 0)
        free[machine] = ends[o] = start + step.options[machine]
        plan[o] = machine, start, ends[o]
    return plan
