"""Anytime solving: a checked plan in less than a second, then better ones, with a lower bound and a gap at any time.

Three run side by side and share the best plan and the best bound in a `Race`: the tabu search where the problem is a
job shop with the makespan, else a large-neighbourhood search; and CP-SAT over the whole problem, which proves bounds.
CP-SAT starts again with a tighter limit when the others have found a better plan, and they go on from its plans.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from common.errors import UsageError
from manufacturing.production_scheduling.bounds import lower_bound
from manufacturing.production_scheduling.checker import check
from manufacturing.production_scheduling.dispatch import by_rank, dispatch, plans_of
from manufacturing.production_scheduling.problem import Problem, Schedule
from manufacturing.production_scheduling.shop import Plan, Shop

logger = logging.getLogger("espalier.scheduling")

Status = Literal["optimal", "feasible", "infeasible", "unknown"]
FIRST_SHARE, FIRST_MOST = 0.3, 0.5
"""The first plans take this share of the time, and not more seconds, once there is one."""
RESERVE = 0.02
"""Share of the time that is left for the end: threads take a moment to stop."""
RELAY = 0.2
"""Seconds between two plans that the tabu search tells, so that checking them takes little time."""
PER_OPERATION = 1e-4
"""Seconds that it takes to build a model, for each operation."""


@dataclass(frozen=True)
class Improvement:
    """One step of the solving: a better plan or bound. `source` is who found it; objective None: no plan yet."""

    seconds: float
    objective: int | None
    bound: int
    source: str

    @property
    def gap(self) -> float | None:
        """(objective - bound) / objective, the share by which the plan can be too bad at most; None without a plan."""
        return gap_of(self.objective, self.bound)


Listener = Callable[[Improvement, Schedule | None], None]


@dataclass(frozen=True)
class Solution:
    """The best plan, checked; what it is worth; and the bound below which no plan can be.

    `status` is `optimal` (the gap is 0), `feasible`, `infeasible` (proven: there is no plan) or `unknown`.
    """

    schedule: Schedule | None
    objective: int | None
    figures: dict[str, int]
    bound: int
    gap: float | None
    status: Status
    seconds: float
    history: tuple[Improvement, ...]


def gap_of(objective: int | None, bound: int) -> float | None:
    """(objective - bound) / objective; 0 where both are 0, None without an objective."""
    if objective is None:
        return None
    return max(0.0, (objective - bound) / objective) if objective else 0.0


class Race:
    """The best plan and bound that all who search share; every plan is checked before it is taken."""

    def __init__(self, shop: Shop, bound: int, stop: Callable[[], bool], until: float) -> None:
        self.shop, self.bound = shop, bound
        self.began = time.perf_counter()
        self.until = until
        self.plan: Plan | None = None
        self.schedule: Schedule | None = None
        self.objective: int | None = None
        self.figures: dict[str, int] = {}
        self.infeasible = False
        self.history: list[Improvement] = []
        self.news: deque[Improvement] = deque()
        self.wake = threading.Condition(threading.RLock())
        self._stop, self._cancelled = stop, threading.Event()

    def offer(self, plan: Plan, source: str, *, sure: bool = True) -> bool:
        """Take a plan if the checker finds nothing wrong and it is the best; whether it was taken.

        One that should be right and is not is logged: `sure` is False for one that may miss a deadline.
        """
        schedule = self.shop.schedule(plan)
        verdict = check(self.shop.problem, schedule)
        if not verdict.feasible:
            if sure:
                logger.warning("%s offered a plan that the checker refused: %s", source, verdict.violations[0])
            return False
        with self.wake:
            if self.objective is not None and verdict.objective >= self.objective:
                return False
            self.plan, self.schedule, self.objective, self.figures = plan, schedule, verdict.objective, verdict.figures
            self._note(source)
        return True

    def raise_bound(self, bound: int, source: str) -> None:
        """Take a better lower bound."""
        with self.wake:
            if bound > self.bound:
                self.bound = bound if self.objective is None else min(bound, self.objective)
                self._note(source)

    def prove_infeasible(self) -> None:
        """There is no plan."""
        with self.wake:
            self.infeasible = self.objective is None
            self.wake.notify_all()

    def _note(self, source: str) -> None:
        one = Improvement(time.perf_counter() - self.began, self.objective, self.bound, source)
        self.history.append(one)
        self.news.append(one)
        self.wake.notify_all()

    @property
    def solved(self) -> bool:
        """Whether nothing is left to find."""
        return self.infeasible or (self.objective is not None and self.bound >= self.objective)

    @property
    def left(self) -> float:
        """Seconds."""
        return self.until - time.perf_counter()

    def over(self) -> bool:
        """Whether to stop: solved, cancelled, or out of time."""
        return self._cancelled.is_set() or self.solved or self.left <= 0 or self._stop()

    def cancel(self) -> None:
        """Stop all who search."""
        self._cancelled.set()


def solve(
    problem: Problem,
    seconds: float = 60.0,
    workers: int = 2,
    *,
    seed: int = 0,
    on_improvement: Listener | None = None,
    stop: Callable[[], bool] = lambda: False,
    only: Literal["cp-sat", "search"] | None = None,
) -> Solution:
    """Plan `problem` within `seconds` on `workers` cores; ends early when optimal, infeasible, or `stop()` says so.

    `on_improvement` hears in this thread of every step, with the best plan so far. With `only` one of the two searches:
    `cp-sat` is plain CP-SAT then, with its own settings and without a plan or bound to begin with. With the same seed
    runs are alike but not equal, as threads take turns by the clock. Raises `UsageError` for a limit or a number of
    workers that is not positive.
    """
    if seconds <= 0 or workers < 1:
        got = f"{seconds} s, {workers} workers"
        raise UsageError("nothing can be planned so", got=got, expected="more than 0 s and at least 1 worker")
    began = time.perf_counter()
    shop = Shop(problem)
    race = Race(shop, lower_bound(shop) if only != "cp-sat" else 0, stop, began + (1 - RESERVE) * seconds)
    race.began = began
    if only != "cp-sat":
        _first(race, seconds)
    threads = [
        threading.Thread(target=_guarded, args=(race, part), daemon=True) for part in _parts(race, workers, seed, only)
    ]
    for thread in threads:
        thread.start()
    while not race.over() and any(thread.is_alive() for thread in threads):
        with race.wake:
            if not race.news:
                race.wake.wait(min(0.05, max(race.left, 0.001)))
        _tell(race, on_improvement)
    race.cancel()
    for thread in threads:
        # Compiled loops end within 20 ms; CP-SAT may take longer and goes on in the background, unheard.
        thread.join(max(0.0, min(1.0, race.left + 0.02 * seconds)))
    _shift(race)
    _tell(race, on_improvement)
    with race.wake:
        return solution_of(race)


def _first(race: Race, seconds: float) -> None:
    """The running plan where there is one, and dispatching rules."""
    problem, shop = race.shop.problem, race.shop
    if problem.plan is not None and check(problem, problem.plan).feasible:
        race.offer(shop.plan(problem.plan), "running plan")
    for plan in plans_of(shop, min(FIRST_SHARE * seconds, FIRST_MOST)):
        race.offer(plan, "dispatching")


def _shift(race: Race) -> None:
    """Operations that could start earlier at no cost do, as people expect of a plan; CP-SAT does not care."""
    plan, shop = race.plan, race.shop
    if plan is None or shop.is_job_shop() or shop.problem.objective.changes or race.left < -0.02:
        return
    shifted = dispatch(shop, by_rank([start for _, start, _ in plan]), [machine for machine, _, _ in plan])
    if shifted is None:
        return
    schedule = shop.schedule(shifted)
    verdict = check(shop.problem, schedule)
    with race.wake:
        if verdict.feasible and race.objective is not None and verdict.objective <= race.objective:
            if verdict.objective < race.objective:
                race.offer(shifted, "shifting")
            race.plan, race.schedule, race.figures = shifted, schedule, verdict.figures


def _parts(race: Race, workers: int, seed: int, only: str | None) -> list[Callable[[], None]]:
    """Who searches, each on its own core; with one core the search goes first and CP-SAT has the second half."""
    if only == "cp-sat":
        return [partial(_prove, race, workers, seed, alone=True)]
    count = workers if only == "search" else max(1, workers // 2)
    searches = [partial(_search, race, seed + number, race.until) for number in range(count)]
    if only == "search":
        return [*searches]
    if workers == 1:

        def both() -> None:
            _search(race, seed, race.until - race.left / 2)
            _prove(race, 1, seed)

        return [both]
    return [partial(_prove, race, workers - count, seed), *searches]


# The first import of either takes a second, which the thread that keeps the limit has not.
def _search(race: Race, seed: int, until: float) -> None:
    if race.shop.is_job_shop():
        from manufacturing.production_scheduling.jobshop import search_job_shop

        search_job_shop(race, seed, until)
    else:
        from manufacturing.production_scheduling.lns import improve

        improve(race, seed, until)


def _prove(race: Race, workers: int, seed: int, *, alone: bool = False) -> None:
    from manufacturing.production_scheduling.prove import prove

    prove(race, workers, seed, alone=alone)


def _guarded(race: Race, part: Callable[[], None]) -> None:
    """One who fails leaves the others running."""
    try:
        part()
    except Exception:
        logger.exception("a part of the solver failed; the others go on")


def _tell(race: Race, listener: Listener | None) -> None:
    while race.news:
        one = race.news.popleft()
        if listener:
            listener(one, race.schedule)


def solution_of(race: Race) -> Solution:
    """What the race has brought so far."""
    gap = gap_of(race.objective, race.bound)
    status: Status = "feasible"
    if race.objective is None:
        status = "infeasible" if race.infeasible else "unknown"
    elif race.bound >= race.objective:
        status = "optimal"
    return Solution(
        schedule=race.schedule,
        objective=race.objective,
        figures=race.figures,
        bound=race.bound,
        gap=gap,
        status=status,
        seconds=time.perf_counter() - race.began,
        history=tuple(race.history),
    )
