"""Plans that keep a chosen risk of ending later than they say, by slack in the durations, tested by simulation.

Plans are made with the durations of a few levels, and their sequences are simulated with random times: the best is the
one that promises most with the lowest level at which it ends late as seldom as asked. For it the level is found again
with draws that did not choose it, and it is tested with draws that had no part in either. In a long plan one level for
all operations is below 1 - risk, as late and early operations make up for each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np

from common.errors import InvalidRequest
from common.evaluation.metrics import wilson
from manufacturing.production_scheduling.checker import check
from manufacturing.production_scheduling.durations import Times, stretched, stretched_times
from manufacturing.production_scheduling.problem import Problem, Schedule
from manufacturing.production_scheduling.shop import Shop, merged
from manufacturing.production_scheduling.simulation import Floor

Scope = Literal["plan", "job"]
LEVELS = (0.5, 0.75, 0.9)
"""Plans are made with the durations of these."""
WINDOWS = 4
"""Times the sum of all durations: calendars are looked at until then."""
LOWEST, HIGHEST, STEPS = 0.02, 0.999, 12
"""Levels between which the one of a plan is searched, and halvings of what lies between."""
UNSURE = 0.05
"""Chance that the level is too low by luck of the draws: the simulated risk stays that far below the promised one."""


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

    `solve` gives a feasible schedule, or None. With the scope "job", a job that is planned to end by its due date is
    late with at most that probability. Raises `InvalidRequest` when no plan keeps deadlines and risk.
    """
    slack = _Slack(problem, times)
    best: tuple[int, Schedule, Floor] | None = None
    for level in LEVELS:
        eased = slack.problem(level)
        schedule = solve(eased) if eased is not None else None
        if eased is None or schedule is None:
            continue
        floor = Floor.of(eased, schedule)
        # The same luck for all.
        found = _lowest(slack, floor, risk, scope, draws, np.random.default_rng([seed, 3]))
        timed = found and _timed(slack, schedule, found)
        if timed and (best is None or timed[0] < best[0]):
            best = timed[0], schedule, floor
    if best is not None:
        _, schedule, floor = best
        found = _lowest(slack, floor, risk, scope, draws, np.random.default_rng([seed, 4]))
        if found and (timed := _timed(slack, schedule, found)):
            return _tested(slack, risk, scope, found, timed[1], timed[2], draws, np.random.default_rng([seed, 5]))
    raise InvalidRequest(
        "no plan keeps this risk with the calendars and deadlines",
        got=f"risk {risk:g}",
        fix="allow more risk, or longer windows",
    )


class _Slack:
    """Durations by level: those of the problem times the ratios of a level.

    An operation that must not be interrupted gets no more than the longest window that it has, if it fits as planned:
    where it takes longer in truth, it goes on after the break, which the simulation shows.
    """

    def __init__(self, problem: Problem, times: Times) -> None:
        self.original, self.times = problem, times
        self.planned = stretched_times(problem, np.ones(len(times.ratio)))
        self._most = np.maximum(1.0, _longest_windows(problem) / self.planned)

    def ratio(self, level: float) -> np.ndarray:
        """Of every operation on each of its machines."""
        return np.minimum(self.times.at(level), self._most)

    def problem(self, level: float) -> Problem | None:
        """The problem with the durations of a level; None where a deadline cannot be met with them."""
        try:
            return stretched(self.original, self.ratio(level))
        except ValueError:
            return None

    def floor(self, floor: Floor, level: float) -> Floor:
        """A plan with the durations of a level."""
        return replace(floor, planned=stretched_times(self.original, self.ratio(level))[floor.option])


def _longest_windows(problem: Problem) -> np.ndarray:
    """float64 (rows of `Times`,): the longest time without a break for what must not be interrupted, else infinity."""
    shop, found, known = Shop(problem), [], {}
    for step in shop.steps:
        for machine in step.options:
            timeline = shop.timeline(step, machine)
            if step.interruptible or timeline.always:
                found.append(np.inf)
                continue
            if id(timeline) not in known:
                closed, blocked = timeline.spans(WINDOWS * shop.horizon())
                edges = np.array([(0, 0), *merged([*closed, *blocked])])
                last = np.inf if edges[-1, 1] < WINDOWS * shop.horizon() else 0.0
                known[id(timeline)] = max(float((edges[1:, 0] - edges[:-1, 1]).max(initial=0)), last)
            found.append(known[id(timeline)])
    return np.array(found)


def simulated(problem: Problem, times: Times, floor: Floor, rng: np.random.Generator, draws: int) -> np.ndarray:
    """Random ends int64 (draws, jobs) of the jobs of a plan whose times are those of `problem` times a ratio."""
    return floor.job_ends(drawn(problem, times, floor, rng, draws))


def drawn(problem: Problem, times: Times, floor: Floor, rng: np.random.Generator, draws: int) -> np.ndarray:
    """Random times int64 (draws, operations) of the operations of a plan."""
    base = stretched_times(problem, np.ones(len(times.ratio)))[floor.option]
    return floor.draw(times, base, rng, draws)


def lateness(ends: np.ndarray, promise: np.ndarray, scope: Scope) -> float:
    """How often `ends` (draws, jobs) are after `promise` (jobs,): that of the last of all jobs, or of the worst job."""
    if scope == "plan":
        return float((ends.max(axis=1) > promise.max()).mean())
    return float((ends > promise).mean(axis=0).max())


def _lowest(
    slack: _Slack, floor: Floor, risk: float, scope: Scope, draws: int, rng: np.random.Generator
) -> tuple[float, Floor] | None:
    """The lowest level whose promise is kept by the sequences of a plan, and the plan with its durations; None where
    not even the highest is."""
    actual = drawn(slack.original, slack.times, floor, rng, draws)
    sure = NormalDist().inv_cdf(1 - UNSURE / (1 if scope == "plan" else len(slack.original.jobs)))
    most = risk - sure * np.sqrt(risk * (1 - risk) / draws)

    def kept(level: float) -> bool:
        # Run anew for each level: whether an operation still fits before a break is decided by its planned time.
        timed = slack.floor(floor, level)
        return lateness(timed.job_ends(actual), timed.job_ends(timed.planned[None])[0], scope) <= most

    low, high = LOWEST, HIGHEST
    if not kept(high):
        return None
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if kept(middle) else (middle, high)
    return high, slack.floor(floor, high)


def _timed(slack: _Slack, schedule: Schedule, found: tuple[float, Floor]) -> tuple[int, Problem, Schedule] | None:
    """Objective, problem and schedule of a plan with the durations of a level; None where that breaks a deadline."""
    level, floor = found
    eased = slack.problem(level)
    if eased is None:
        return None
    timed = retimed(eased, schedule, floor)
    verdict = check(eased, timed)
    return (verdict.objective, eased, timed) if verdict.feasible else None


def retimed(problem: Problem, schedule: Schedule, floor: Floor) -> Schedule:
    """The same sequences with the durations of `floor`, everything as early as it can."""
    starts, ends = (row[0].tolist() for row in floor.run(floor.planned[None]))
    rows = [schedule.by_operation[job.name, name] for job in problem.jobs for name in job.names]
    placed = zip(rows, starts, ends, strict=True)
    return Schedule(assignments=tuple(one.model_copy(update={"start": a, "end": b}) for one, a, b in placed))


def _tested(
    slack: _Slack,
    risk: float,
    scope: Scope,
    found: tuple[float, Floor],
    eased: Problem,
    schedule: Schedule,
    draws: int,
    rng: np.random.Generator,
) -> Robust:
    level, floor = found
    problem = slack.original
    ends = simulated(problem, slack.times, floor, rng, draws)
    promise = floor.job_ends(floor.planned[None])[0]
    achieved = lateness(ends, promise, scope)
    low, high = wilson(achieved * draws, draws)
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
        missed=dict(zip(problem.job, (ends > promise).mean(axis=0).tolist(), strict=True)),
        draws=draws,
    )
