"""Why there is no plan: a minimal set of the plant's own constraints that contradict each other.

QuickXplain (Junker, AAAI 2004) over what can be given up: deadlines, releases, calendars, breaks, maintenance, setups,
limits on operators, materials and the running plan. Each is taken away from the problem itself, and CP-SAT says whether
there is a plan then; so the explanation is in the words of the problem.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ortools.sat.python import cp_model

from manufacturing.production_scheduling.bounds import horizon
from manufacturing.production_scheduling.checker import check
from manufacturing.production_scheduling.dispatch import RULES, dispatch
from manufacturing.production_scheduling.model import build, solver
from manufacturing.production_scheduling.problem import Problem
from manufacturing.production_scheduling.shop import Shop

Relax = Callable[[Problem], Problem]


@dataclass(frozen=True)
class Conflict:
    """Sentences of constraints that cannot all hold: without any one of them there would be a plan if `minimal`.

    `feasible` says that there is a plan after all; None that neither was found within the time.
    """

    feasible: bool | None
    constraints: tuple[str, ...]
    minimal: bool


@dataclass(frozen=True)
class Constraint:
    """Something that can be given up: how to say it, and the problem without it."""

    sentence: str
    relax: Relax


def why_infeasible(problem: Problem, seconds: float = 30.0, workers: int = 1) -> Conflict:
    """A minimal set of constraints that leave no plan; its order is that of the list below, the last ones preferred."""
    until = time.perf_counter() + seconds
    some = constraints(problem)
    unsure = False

    def infeasible(kept: Sequence[Constraint]) -> bool:
        nonlocal unsure
        relaxed = problem
        for one in some:
            if one not in kept:
                relaxed = one.relax(relaxed)
        found = feasible(relaxed, max(0.05, min(5.0, until - time.perf_counter())), workers)
        unsure = unsure or found is None
        return found is False

    first = feasible(problem, max(0.05, seconds / 3), workers)
    if first is not False:
        return Conflict(first, (), False)
    if infeasible([]):
        return Conflict(False, ("Even without calendars, deadlines and limits there is no plan.",), not unsure)
    found = _explain(infeasible, [], [], some)
    return Conflict(False, tuple(one.sentence for one in some if one in found), not unsure)


def _explain(
    infeasible: Callable[[Sequence[Constraint]], bool],
    kept: list[Constraint],
    added: list[Constraint],
    rest: Sequence[Constraint],
) -> list[Constraint]:
    """Of `rest`, a minimal part that contradicts itself together with `kept`."""
    if added and infeasible(kept):
        return []
    if len(rest) == 1:
        return list(rest)
    half = len(rest) // 2
    one, two = list(rest[:half]), list(rest[half:])
    second = _explain(infeasible, kept + one, one, two)
    first = _explain(infeasible, kept + second, second, one)
    return first + second


def feasible(problem: Problem, seconds: float, workers: int = 1) -> bool | None:
    """Whether there is a plan; None when neither is known after `seconds`."""
    shop = Shop(problem)
    plan = dispatch(shop, RULES["edd"])
    if plan is not None and check(problem, shop.schedule(plan)).feasible:
        return True
    built = build(shop, horizon=horizon(shop))
    built.model.clear_objective()
    status = solver(seconds, workers, 0).solve(built.model)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return True
    return False if status == cp_model.INFEASIBLE else None


def constraints(problem: Problem) -> list[Constraint]:
    """Everything that can be given up."""
    found: list[Constraint] = []
    for machine in problem.machines:
        name = machine.name
        if machine.setups:
            found.append(Constraint(f"Machine {name} needs its setup times.", _machine(name, setups={})))
        if machine.calendar is not None:
            told = f"Machine {name} works only in its calendar."
            found.append(Constraint(told, _machine(name, calendar=None)))
        if machine.breaks:
            found.append(Constraint(f"Machine {name} has breaks.", _machine(name, breaks=())))
        for window in machine.maintenance:
            label = f" ({window.name})" if window.name else ""
            told = f"Machine {name} has maintenance from {window.start} to {window.end}{label}."
            found.append(Constraint(told, _without_window(name, window)))
    for pool in problem.operators:
        if pool.calendar is not None or pool.breaks:
            told = f"Operators {pool.name} work only in their calendar, with breaks."
            found.append(Constraint(told, _pool(pool.name, calendar=None, breaks=())))
        told = f"There are only {pool.count} operators {pool.name}."
        found.append(Constraint(told, _pool(pool.name, count=_most(problem, pool.name))))
    if problem.frozen_until:
        told = f"What the running plan starts before {problem.frozen_until} stays."
        found.append(Constraint(told, lambda p: p.changed(frozen_until=0)))
    for job in problem.jobs:
        if job.release:
            told = f"Job {job.name} is released at {job.release}."
            found.append(Constraint(told, _job(job.name, release=0)))
        for name, operation in zip(job.names, job.operations, strict=True):
            if operation.earliest:
                told = f"The material of job {job.name}, operation {name} is there at {operation.earliest}."
                found.append(Constraint(told, _material(job.name, name)))
        if job.deadline is not None:
            told = f"Job {job.name} must be done by {job.deadline}."
            found.append(Constraint(told, _job(job.name, deadline=None)))
    return found


def _most(problem: Problem, pool: str) -> int:
    """So many that they are no limit."""
    return max(1, sum(operation.operators.get(pool, 0) for job in problem.jobs for operation in job.operations))


def _replaced(items: Iterable[Any], name: str, **update: Any) -> tuple[Any, ...]:
    return tuple(one.model_copy(update=update) if one.name == name else one for one in items)


def _machine(name: str, **update: Any) -> Relax:
    return lambda problem: problem.changed(machines=_replaced(problem.machines, name, **update))


def _without_window(name: str, window: Any) -> Relax:
    def relax(problem: Problem) -> Problem:
        left = tuple(one for one in problem.machine[name].maintenance if one != window)
        return problem.changed(machines=_replaced(problem.machines, name, maintenance=left))

    return relax


def _pool(name: str, **update: Any) -> Relax:
    return lambda problem: problem.changed(operators=_replaced(problem.operators, name, **update))


def _job(name: str, **update: Any) -> Relax:
    return lambda problem: problem.changed(jobs=_replaced(problem.jobs, name, **update))


def _material(name: str, operation: str) -> Relax:
    def relax(problem: Problem) -> Problem:
        job = problem.job[name]
        place = job.names.index(operation)
        steps = list(job.operations)
        steps[place] = steps[place].model_copy(update={"earliest": 0})
        return problem.changed(jobs=_replaced(problem.jobs, name, operations=tuple(steps)))

    return relax
