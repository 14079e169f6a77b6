"""Repair: a breakdown, a rush job or late material, and a new plan within seconds that changes little.

What the events touch is set free with all that follows it in its jobs; everything else stays where it is, so that there
is a new plan at once. Then operations around these are set free too, within the number that may move, and CP-SAT
improves the plan around the rest (match-up scheduling: Bean, Birge, Mittenthal and Noon, Operations Research 39, 1991).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from ortools.sat.python import cp_model
from pydantic import Field

from common.config import Strict
from common.errors import InvalidRequest
from manufacturing.production_scheduling.bounds import horizon, lower_bound
from manufacturing.production_scheduling.checker import check, moved
from manufacturing.production_scheduling.dispatch import best_of
from manufacturing.production_scheduling.model import Built, build, solver
from manufacturing.production_scheduling.problem import Job, Problem, Schedule, Window
from manufacturing.production_scheduling.shop import Placed, Shop
from manufacturing.production_scheduling.solve import Race, Solution, solution_of, solve


class Breakdown(Strict):
    """A machine stands still; what it does when it breaks down has to be done again."""

    kind: Literal["breakdown"] = "breakdown"
    machine: str
    start: int = Field(ge=0)
    end: int


class RushJob(Strict):
    """A job that nobody had planned."""

    kind: Literal["rush job"] = "rush job"
    job: Job


class LateMaterial(Strict):
    """An operation cannot start before a time."""

    kind: Literal["late material"] = "late material"
    job: str
    operation: str
    until: int = Field(ge=0)


LEAST, STEP = 15, 0.3
"""Operations that a step sets free beside those that have to move, at least; share of the time for a step, at most."""
Event = Annotated[Breakdown | RushJob | LateMaterial, Field(discriminator="kind")]


@dataclass(frozen=True)
class Repair:
    """The problem as it is now, the new plan, and which operations of the old one moved, as (job, operation)."""

    problem: Problem
    solution: Solution
    moved: tuple[tuple[str, str], ...]
    share: float
    """Of the old plan's operations that moved."""


def repair(
    problem: Problem,
    schedule: Schedule,
    events: Sequence[Event],
    *,
    now: int,
    frozen: int = 0,
    most_moved: float = 0.2,
    seconds: float = 2.5,
    workers: int = 1,
    seed: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> Repair:
    """A new plan after `events`: what starts before `now + frozen` stays, unless an event touches it.

    At most the share `most_moved` of the old plan's operations moves if there is such a plan; else as few as were
    found. Raises `InvalidRequest` when an event names what does not exist or the schedule is not one of the problem.
    """
    began = time.perf_counter()
    verdict = check(problem.changed(plan=None, frozen_until=0, objective=_without_changes(problem)), schedule)
    if not verdict.feasible:
        raise InvalidRequest(f"the running plan does not fit the problem: {verdict.violations[0]}", where="schedule")
    changed, touched = _apply(problem, schedule, events, now + frozen)
    shop = Shop(changed)
    free = {shop.number[key] for key in touched} | {
        step.number for step in shop.steps if (shop.jobs[step.job].name, step.name) not in schedule.by_operation
    }
    race = Race(shop, lower_bound(shop), stop, began + seconds)
    limit = max(len(touched), int(most_moved * len(schedule.assignments)))
    _match_up(race, schedule, free, limit, np.random.default_rng(seed))
    if race.plan is None and (found := best_of(shop, 0.2 * seconds)):
        race.offer(found[0], "dispatching")
    if race.plan is None and race.left > 0.05 * seconds:
        solution = solve(changed, race.left, workers, seed=seed, stop=stop)
    else:
        solution = solution_of(race)
    keys = tuple(moved(schedule, solution.schedule)) if solution.schedule else ()
    return Repair(changed, solution, keys, len(keys) / len(schedule.assignments))


def _without_changes(problem: Problem) -> dict[str, int]:
    weights = problem.objective.model_dump() | {"changes": 0}
    return weights if any(weights.values()) else {"makespan": 1}


def _apply(
    problem: Problem, schedule: Schedule, events: Sequence[Event], start: int
) -> tuple[Problem, set[tuple[str, str]]]:
    """The problem after the events, and the planned operations that cannot stay."""
    machines, jobs = dict(problem.machine), dict(problem.job)
    touched: set[tuple[str, str]] = set()
    for event in events:
        if isinstance(event, Breakdown):
            machine = machines.get(event.machine)
            if machine is None or event.end <= event.start:
                what = "no such machine" if machine is None else "a breakdown ends after its start"
                raise InvalidRequest(what, where="breakdown", got=f"{event.machine!r} {event.start} to {event.end}")
            window = Window(start=event.start, end=event.end, name="breakdown")
            machines[event.machine] = machine.model_copy(update={"maintenance": (*machine.maintenance, window)})
            touched |= {
                (one.job, one.operation)
                for one in schedule.assignments
                if one.machine == event.machine and one.start < event.end and one.end > event.start
            }
        elif isinstance(event, RushJob):
            if event.job.name in jobs:
                raise InvalidRequest("there is such a job already", where="rush job", got=repr(event.job.name))
            jobs[event.job.name] = event.job
        else:
            job = jobs.get(event.job)
            if job is None or event.operation not in job.names:
                got = f"operation {event.operation!r} of job {event.job!r}"
                raise InvalidRequest("no such operation", where="late material", got=got)
            steps = list(job.operations)
            place = job.names.index(event.operation)
            # Names are written out: a copy of the operation must not depend on its place.
            update = {"earliest": max(event.until, steps[place].earliest), "name": event.operation}
            steps[place] = steps[place].model_copy(update=update)
            fields = {name: getattr(job, name) for name in Job.model_fields}
            jobs[event.job] = Job(**fields | {"operations": tuple(steps)})
            if schedule.by_operation[event.job, event.operation].start < event.until:
                touched.add((event.job, event.operation))
    touched = _with_followers(problem, touched)
    kept = tuple(one for one in schedule.assignments if (one.job, one.operation) not in touched or one.start >= start)
    changed = problem.changed(
        machines=tuple(machines.values()),
        jobs=tuple(jobs.values()),
        plan=Schedule(assignments=kept),
        frozen_until=start,
    )
    return changed, touched


def _with_followers(problem: Problem, touched: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """And all that waits for them in their jobs."""
    found = set(touched)
    for job in problem.jobs:
        for place in job.order:
            if any((job.name, job.names[other]) in found for other in job.before[place]):
                found.add((job.name, job.names[place]))
    return found


def _match_up(race: Race, schedule: Schedule, free: set[int], limit: int, rng: np.random.Generator) -> None:
    """Improve around what stays until the race is over; `limit` operations of the old plan may move."""
    shop, seconds = race.shop, race.left
    old = schedule.by_operation
    place = {
        shop.number[key]: (shop.machine_number[one.machine], one.start, one.end)
        for key, one in old.items()
        if key in shop.number
    }
    # Only what has not begun may move; what is frozen is so already.
    movable = sorted(set(place) - set(shop.frozen), key=lambda o: place[o][1])
    wanted, extra = set(free), 0
    while not race.over():
        some = wanted | _near(movable, place, wanted, extra, rng)
        hold = {o: place[o] for o in movable if o not in some}
        plan, objective = race.plan, race.objective
        end = horizon(shop, objective)
        upper = None if objective is None else objective - 1
        built = build(shop, horizon=end, lower=0, upper=upper, hold=hold)
        if plan is not None:
            built.hint(plan)
        counted = [o for o in some if o in place]
        stays = [_stays(built, o, place[o]) for o in counted]
        if len(counted) > limit:
            built.model.add(sum(stays) >= len(counted) - limit)
        # CP-SAT as it comes finds some plans that our settings miss, and the other way round.
        engine = solver(min(STEP * seconds, race.left), 1, int(rng.integers(2**31)), plain=bool(rng.random() < 0.5))
        status = engine.solve(built.model)
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            race.offer(built.plan(engine.value), "repair")
        if race.plan is not None:
            wanted = free | {o for o in place if race.plan[o] != place[o]}
        elif status == cp_model.INFEASIBLE and len(some) >= len(movable):
            return
        if status in (cp_model.OPTIMAL, cp_model.INFEASIBLE):
            if len(some) >= len(movable) + len(free - set(place)):
                return
            extra = max(LEAST, int(extra * 1.5))
        else:
            extra = max(LEAST, int(extra * 0.7))


def _near(
    movable: Sequence[int], place: dict[int, Placed], wanted: set[int], count: int, rng: np.random.Generator
) -> set[int]:
    """Operations around one that has to move, on its machine or on all, or anywhere: a rush job may go anywhere."""
    if not count or not movable:
        return set()
    known = [o for o in wanted if o in place]
    kind = rng.random() if known else 1.0
    center = int(rng.choice(known)) if kind < 0.85 else movable[int(rng.integers(len(movable)))]
    machine, begin, _ = place[center]
    early = int(rng.integers(0, count + 1))
    some = [o for o in movable if kind >= 0.15 or place[o][0] == machine]
    at = next((index for index, o in enumerate(some) if place[o][1] >= begin), len(some))
    return set(some[max(0, at - early) : max(0, at - early) + count])


def _stays(built: Built, o: int, old: Placed) -> Any:
    """A literal that is only true when an operation is where it was."""
    model, start = built.model, built.start[o]
    literal = model.new_bool_var("")
    on = built.on[o].get(old[0])
    if on is None or isinstance(start, int):
        model.add(literal == (1 if isinstance(start, int) else 0))
        return literal
    model.add(start == old[1]).only_enforce_if(literal)
    if on is not True:
        model.add_implication(literal, on)
    return literal
