"""Large-neighbourhood search with small CP-SAT models, for every problem that the tabu search cannot do.

Each step frees some operations of the best plan and solves the rest of the problem around them (`model.build`). Which
operations: those of a window of time, of a few machines, of a few jobs, or near the operations that end last or late.
Kinds that found something lately are drawn more often (Ropke and Pisinger, Transportation Science 40, 2006), and the
number of operations follows what CP-SAT can do in two seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from ortools.sat.python import cp_model

from manufacturing.production_scheduling.bounds import horizon
from manufacturing.production_scheduling.dispatch import by_rank, dispatch
from manufacturing.production_scheduling.model import build, solver
from manufacturing.production_scheduling.shop import NEVER, Plan, Shop
from manufacturing.production_scheduling.solve import PER_OPERATION, Race

SOURCE = "neighbourhoods"
STEP = 2.0
"""Seconds of one step, building the model apart."""
FIRST_SIZE, LEAST_SIZE = 20, 4
LATER, SLACK, HELD = 1.05, 0.15, 0.5
"""A step may make the plan end so much later, and move operations outside by this share of its length; and the share of
steps that hold them where they are."""
Pick = Callable[[Shop, Plan, int, np.random.Generator], set[int]]


def improve(race: Race, seed: int, until: float) -> None:
    """Search until the race is over or the clock (`time.perf_counter`) shows `until`."""
    shop, rng = race.shop, np.random.default_rng(seed)
    kinds: list[Pick] = [_window, _machines, _jobs, _critical]
    merit = np.ones(len(kinds))
    size = float(min(FIRST_SIZE, len(shop)))
    longest = max(max(step.options.values()) for step in shop.steps)
    while not race.over() and (left := min(until - time.perf_counter(), race.left)) > 0:
        plan, objective = race.plan, race.objective
        if plan is None or objective is None:
            time.sleep(0.02)
            continue
        if left < 2 * PER_OPERATION * len(shop):
            return
        kind = int(rng.choice(len(kinds), p=merit / merit.sum()))
        free = kinds[kind](shop, plan, int(size), rng) - set(shop.frozen)
        whole = len(free) >= len(shop) - len(shop.frozen)
        # Only a proof needs plans that end far behind the best one, and lets what is outside go far. Held in time, it
        # makes the model small: half of the steps are so.
        end, held = horizon(shop, objective), {}
        latest = max(end for _, _, end in plan)
        slack = NEVER if whole else max(longest, int(SLACK * latest))
        if not whole:
            end = min(end, int(LATER * latest) + longest)
            if rng.random() < HELD:
                held = {o: placed for o, placed in enumerate(plan) if o not in free}
        built = build(
            shop,
            horizon=end,
            lower=race.bound,
            upper=objective - 1,
            plan=None if held else plan,
            free=None if held else free,
            slack=slack,
            hold=held,
        )
        built.hint(plan)
        # CP-SAT as it comes finds some plans that our settings miss, and the other way round.
        engine = solver(
            min(STEP, race.left, until - time.perf_counter()),
            1,
            int(rng.integers(2**31)),
            plain=bool(rng.random() < 0.5),
        )
        status = engine.solve(built.model)
        better = status in (cp_model.OPTIMAL, cp_model.FEASIBLE) and _offer(race, built.plan(engine.value))
        merit[kind] = max(0.1, 0.9 * merit[kind] + (1.0 if better else 0.0))
        if status in (cp_model.OPTIMAL, cp_model.INFEASIBLE):
            if whole and not better:
                race.raise_bound(objective, SOURCE)
                return
            if engine.wall_time < STEP / 4:
                size = min(len(shop), size * 1.1)
        elif engine.wall_time > STEP / 2:
            size = max(LEAST_SIZE, size * 0.9)


def _offer(race: Race, plan: Plan) -> bool:
    """Offer a plan, and the one with everything as early as its order allows."""
    better = race.offer(plan, SOURCE)
    shifted = dispatch(race.shop, by_rank([start for _, start, _ in plan]), [machine for machine, _, _ in plan])
    return (shifted is not None and race.offer(shifted, SOURCE, sure=False)) or better


def _window(shop: Shop, plan: Plan, size: int, rng: np.random.Generator) -> set[int]:
    """Operations that follow each other in time, on all machines."""
    by_start = sorted(range(len(shop)), key=lambda o: plan[o][1])
    at = int(rng.integers(-size // 2, max(1, len(by_start) - size // 2)))
    return set(by_start[max(0, at) : at + size])


def _machines(shop: Shop, plan: Plan, size: int, rng: np.random.Generator) -> set[int]:
    """What a few machines do, those that share operations first; in a window of time if it is too much."""
    rows: dict[int, list[int]] = {}
    for o, (machine, _, _) in enumerate(plan):
        rows.setdefault(machine, []).append(o)
    machines = rng.permutation(list(rows))
    kin = {m for o in rows[int(machines[0])] for m in shop.steps[o].options}
    found: list[int] = []
    for machine in sorted(machines, key=lambda m: m not in kin):
        if len(found) >= size:
            break
        found += rows[int(machine)]
    found.sort(key=lambda o: plan[o][1])
    at = int(rng.integers(0, max(1, len(found) - size + 1)))
    return set(found[at : at + size])


def _jobs(shop: Shop, plan: Plan, size: int, rng: np.random.Generator) -> set[int]:
    """All operations of a few jobs."""
    found: set[int] = set()
    for job in rng.permutation(len(shop.jobs)):
        if len(found) >= size:
            break
        found |= set(range(shop.first[job], shop.first[job + 1]))
    return found


def _critical(shop: Shop, plan: Plan, size: int, rng: np.random.Generator) -> set[int]:
    """The last operations of jobs that end last or late, what is right before these, and so on, with neighbours."""
    before: dict[int, int] = {}
    last: dict[int, int] = {}
    for o in sorted(range(len(shop)), key=lambda o: plan[o][1]):
        if plan[o][0] in last:
            before[o] = last[plan[o][0]]
        last[plan[o][0]] = o
    ends = [max(range(a, b), key=lambda o: plan[o][2]) for a, b in zip(shop.first, shop.first[1:], strict=False)]
    pressing = np.array([_pressure(shop, plan, o) for o in ends])
    stack = [ends[int(rng.choice(len(ends), p=pressing / pressing.sum()))]]
    found: set[int] = set()
    while stack and len(found) < size:
        o = stack.pop(int(rng.integers(len(stack))))
        if o in found:
            continue
        found.add(o)
        near = [other for other in (*shop.steps[o].before, *shop.steps[o].after, before.get(o, -1)) if other >= 0]
        stack += near
    return found | _window(shop, plan, max(0, size - len(found)), rng)


def _pressure(shop: Shop, plan: Plan, o: int) -> float:
    """How much the end of a job matters: by its weighted tardiness, else by how late it is among all."""
    job, end = shop.jobs[shop.steps[o].job], plan[o][2]
    late = max(0, end - job.due) * job.weight if job.due is not None and shop.problem.objective.tardiness else 0
    return 1e-3 + late + (end / max(one[2] for one in plan)) ** 8
