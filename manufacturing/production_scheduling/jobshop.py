"""The tabu search as one of those who race: a job shop as arrays, and plans to and fro."""

from __future__ import annotations

import time

import numpy as np

from manufacturing.production_scheduling.kernels import Graph
from manufacturing.production_scheduling.search import JobShopSearch, Settings
from manufacturing.production_scheduling.shop import Plan, Shop
from manufacturing.production_scheduling.solve import RELAY, Race

SOURCE = "tabu"


def search_job_shop(race: Race, seed: int, until: float, settings: Settings | None = None) -> None:
    """Search until the race is over or the clock (`time.perf_counter`) shows `until`."""
    shop = race.shop
    waiting: tuple[np.ndarray, int] | None = None
    told = 0.0

    def flush(force: bool = False) -> None:
        nonlocal waiting, told
        if waiting and (force or time.perf_counter() - told > RELAY):
            order, waiting = waiting[0], None
            race.offer(as_plan(shop, order), SOURCE)
            told = time.perf_counter()

    def tell(order: np.ndarray, makespan: int) -> None:
        nonlocal waiting
        if race.objective is None or makespan < race.objective:
            waiting = order, makespan
            flush(force=makespan <= race.bound)

    def ask() -> bool:
        flush()
        return race.over() or time.perf_counter() >= until

    def fetch(best: int) -> np.ndarray | None:
        plan, objective = race.plan, race.objective
        return as_order(plan) if plan is not None and objective is not None and objective < best else None

    search = JobShopSearch(graph_of(shop), seed, ask, tell, fetch, settings, target=race.bound)
    search.run()
    flush(force=True)


def graph_of(shop: Shop) -> Graph:
    """The arrays of a job shop; the tabu tenure is Zhang's (2007): 10 + n/m to 1.4 (1.5 above n = 2 m) times that."""
    n, jobs, machines = len(shop), len(shop.jobs), len(shop.machines)

    def room(value: int = 0) -> np.ndarray:
        return np.full(n + 1, value, np.int32)

    graph = Graph(
        duration=room(),
        release=room(),
        wait=room(),
        lag=room(),
        before=room(n),
        after=room(n),
        machine=room(),
        local=room(),
        first=np.zeros(machines, np.int32),
        tenure=np.zeros(2, np.int64),
    )
    counts = [0] * machines
    for step in shop.steps:
        o = step.number
        ((machine, duration),) = step.options.items()
        graph.duration[o], graph.machine[o], graph.release[o], graph.lag[o] = duration, machine, step.earliest, step.lag
        graph.local[o] = counts[machine]
        counts[machine] += 1
        for other in step.before:
            graph.before[o], graph.after[other], graph.wait[o] = other, o, shop.steps[other].lag
    graph.first[:] = 1 + np.cumsum([0, *(count + 1 for count in counts[:-1])])
    least = 10 + jobs / machines
    graph.tenure[:] = int(least), int(least * (1.4 if jobs <= 2 * machines else 1.5))
    return graph


def as_order(plan: Plan) -> np.ndarray:
    """The operations by start: a linear order that keeps that of every job and machine, as no duration is 0."""
    return np.argsort([start for _, start, _ in plan], kind="stable").astype(np.int32)


def as_plan(shop: Shop, order: np.ndarray) -> Plan:
    """Every operation as early as a linear order allows."""
    free = [0] * len(shop.machines)
    ends = [0] * len(shop)
    plan: Plan = [(0, 0, 0)] * len(shop)
    for o in order.tolist():
        step = shop.steps[o]
        ((machine, duration),) = step.options.items()
        start = max(free[machine], step.earliest, *(ends[other] + shop.steps[other].lag for other in step.before), 0)
        free[machine] = ends[o] = start + duration
        plan[o] = machine, start, start + duration
    return plan
