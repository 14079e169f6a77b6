"""Plans that keep a chosen risk of ending later than they say, by slack in the durations, tested by simulation.

Plans are made with the durations of a few levels, their sequences are simulated with random times, and each is timed
anew with the lowest level at which it ends late as seldom as promised; the best of them is taken. It is then tested
with draws that had no part in that. One common level for all operations is far below 1 - risk for a long plan, as late
and early operations make up for each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from common.errors import InvalidRequest
from common.evaluation.metrics import wilson
from manufacturing.production_scheduling.checker import check
from manufacturing.production_scheduling.durations import Times, stretched, stretched_times
from manufacturing.production_scheduling.problem import Problem, Schedule
from manufacturing.production_scheduling.simulation import Floor

Scope = Literal["plan", "job"]
LEVELS = (0.5, 0.75, 0.9)
"""Plans are made with the durations of these."""
LOWEST, HIGHEST, STEPS = 0.02, 0.999, 12
"""Levels between which the one of a plan is searched, and halvings of what lies between."""
SURE = 1.645
"""Standard errors that the simulated risk must be below the promised one: 95 % of the times it is kept, then."""


@dataclass(frozen=True)
class Robust:
    """A plan that ends late with at most the risk `promised`, and what a test of it with other draws showed.

    `problem` has the durations of `level`, with which `schedule` is feasible. `achieved` is the share of simulated runs
    in which the plan (or its worst job) ended later than the schedule says, with its 95 % interval `low` to `high`.
    `makespan` has the quantiles .1, .5 and .9 of the simulated runs, `late` each job's probability of ending after its
    due date, and `missed` that of ending after its planned end.
    """

    problem: Problem
    schedule: Schedule
    level: float
    promised: float
    achieved: float
    low: float
    high: float
    makespan: tuple[float, float, float]
    late: dict[str, float]
    missed: dict[str, float]
    draws: int


def robust(
    problem: Problem,
    times: Times,
    risk: float,
    solve: Callable[[Problem], Schedule | None],
    *,
    draws: int = 2_000,
    seed: int = 0,
    scope: Scope = "plan",
) -> Robust:
    """Plan so that the whole ends later than planned with a probability of at most `risk` (`scope` "job": each job).

    `solve` gives a feasible schedule, or None. Raises `InvalidRequest` when no plan keeps deadlines and risk.
    """
    rng = np.random.default_rng([seed, 3])
    best: tuple[int, float, Problem, Schedule, Floor] | None = None
    for level in LEVELS:
        try:
            eased = stretched(problem, times.at(level))
        except ValueError:  # a deadline that cannot be met at this level
            continue
        schedule = solve(eased)
        if schedule is None:
            continue
        floor = Floor.of(eased, schedule)
        level, found = _lowest(problem, times, floor, risk, scope, draws, rng)
        try:
            eased = stretched(problem, times.at(level))
        except ValueError:
            continue
        timed = _timed(schedule, found)
        verdict = check(eased, timed)
        if verdict.feasible and (best is None or verdict.objective < best[0]):
            best = verdict.objective, level, eased, timed, found
    if best is None:
        raise InvalidRequest(
            "no plan keeps the deadlines with this risk",
            got=f"risk {risk:g}",
            fix="allow more risk, or leave deadlines out",
        )
    _, level, eased, schedule, floor = best
    return _tested(problem, times, risk, scope, level, eased, schedule, floor, draws, np.random.default_rng([seed, 4]))


def simulated(problem: Problem, times: Times, floor: Floor, rng: np.random.Generator, draws: int) -> np.ndarray:
    """Random ends int64 (draws, jobs) of the jobs of a plan whose times are those of `problem` times a ratio."""
    base = stretched_times(problem, np.ones(len(times.ratio)))[floor.option]
    return floor.job_ends(floor.draw(times, base, rng, draws))


def lateness(ends: np.ndarray, promise: np.ndarray, scope: Scope) -> float:
    """How often `ends` (draws, jobs) are after `promise` (jobs,): that of the last of all jobs, or of the worst job."""
    if scope == "plan":
        return float((ends.max(axis=1) > promise.max()).mean())
    return float((ends > promise).mean(axis=0).max())


def _lowest(
    problem: Problem, times: Times, floor: Floor, risk: float, scope: Scope, draws: int, rng: np.random.Generator
) -> tuple[float, Floor]:
    """The lowest level whose promise is kept by the sequences of a plan, and the plan with its durations."""
    ends = simulated(problem, times, floor, rng, draws)
    most = risk - SURE * np.sqrt(risk * (1 - risk) / draws)

    def at(level: float) -> Floor:
        return replace(floor, planned=stretched_times(problem, times.at(level))[floor.option])

    low, high = LOWEST, HIGHEST
    for _ in range(STEPS):
        middle = (low + high) / 2
        timed = at(middle)
        if lateness(ends, timed.job_ends(timed.planned[None])[0], scope) <= most:
            high = middle
        else:
            low = middle
    return high, at(high)


def _timed(schedule: Schedule, floor: Floor) -> Schedule:
    """The same sequences with the durations of `floor`."""
    starts, ends = (row[0].tolist() for row in floor.run(floor.planned[None]))
    rows = [
        one.model_copy(update={"start": start, "end": end})
        for one, start, end in zip(schedule.assignments, starts, ends, strict=True)
    ]
    return Schedule(assignments=tuple(rows))


def _tested(
    problem: Problem,
    times: Times,
    risk: float,
    scope: Scope,
    level: float,
    eased: Problem,
    schedule: Schedule,
    floor: Floor,
    draws: int,
    rng: np.random.Generator,
) -> Robust:
    ends = simulated(problem, times, floor, rng, draws)
    promise = floor.job_ends(floor.planned[None])[0]
    achieved = lateness(ends, promise, scope)
    low, high = wilson(achieved * draws, draws)
    names = [job.name for job in problem.jobs]
    quantiles = np.quantile(ends.max(axis=1), [0.1, 0.5, 0.9]).tolist()
    late = {
        job.name: float((ends[:, place] > job.due).mean())
        for place, job in enumerate(problem.jobs)
        if job.due is not None
    }
    return Robust(
        problem=eased,
        schedule=schedule,
        level=level,
        promised=risk,
        achieved=achieved,
        low=float(low),
        high=float(high),
        makespan=(quantiles[0], quantiles[1], quantiles[2]),
        late=late,
        missed=dict(zip(names, (ends > promise).mean(axis=0).tolist(), strict=True)),
        draws=draws,
    )
