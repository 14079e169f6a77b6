"""What runs in the processes of jobs: searching, repairing, explaining, comparing. Here OR-Tools is imported."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from common.bundle import load_bundle
from common.errors import InvalidRequest
from common.provenance import cores
from common.serving.jobs.worker import Report
from manufacturing.production_scheduling.answers import (
    Compared,
    Conflict,
    Delay,
    Explained,
    ExplainOrder,
    Link,
    Moved,
    Order,
    Pair,
    Repaired,
    RepairOrder,
    Solved,
    SolveOrder,
    Step,
    Use,
    WhatIfOrder,
)
from manufacturing.production_scheduling.bounds import lower_bound
from manufacturing.production_scheduling.checker import check
from manufacturing.production_scheduling.conflicts import why_infeasible
from manufacturing.production_scheduling.durations import Durations
from manufacturing.production_scheduling.explain import compare, critical_path, loads, tell, why_late
from manufacturing.production_scheduling.instant import described, late_jobs, risk_of, times_of
from manufacturing.production_scheduling.problem import Problem, Schedule
from manufacturing.production_scheduling.readers import sentence
from manufacturing.production_scheduling.repair import repair
from manufacturing.production_scheduling.robust import LEVELS, robust
from manufacturing.production_scheduling.shop import Shop
from manufacturing.production_scheduling.solve import Improvement, Solution, solve

Stop = Callable[[], bool]
WORKERS = min(16, cores())
"""Threads of a search: as many as there are cores, which requests take first (see `common/serving/jobs`)."""
BEST_EVERY = 2.0
"""Seconds between two plans that are kept in case that the search is killed: 10,000 operations take a third of one."""
MOST_DELAYS = 20
"""Late jobs that are explained when none is named."""
ORDERS: TypeAdapter[Order] = TypeAdapter(Order)


def work(asked: bytes, report: Report, stop: Stop) -> bytes:
    """Answer an order in JSON by the JSON of its answer; raises `InvalidRequest`."""
    try:
        order = ORDERS.validate_json(asked)
        match order:
            case SolveOrder():
                answer: BaseModel = _solve(order, report, stop)
            case RepairOrder():
                answer = _repair(order, stop)
            case ExplainOrder():
                answer = _explain(order)
            case WhatIfOrder():
                answer = _compare(order, stop)
    except ValidationError as error:  # of a problem that a change has made contradict itself
        raise InvalidRequest(sentence(error)) from None
    return answer.model_dump_json().encode()


def _solve(order: SolveOrder, report: Report, stop: Stop) -> Solved:
    ask, problem = order.ask, order.ask.problem
    began = time.perf_counter()

    kept = -BEST_EVERY

    def tell_step(one: Improvement, schedule: Schedule | None) -> None:
        nonlocal kept
        now, best = time.perf_counter() - began, None
        # A robust plan is judged by its risk at the end: what is found on the way is not yet an answer.
        if schedule is not None and ask.risk is None and now - kept >= BEST_EVERY:
            fields = described(problem, schedule, one.bound, one.source) | {"problem": problem, "seconds": now}
            best = Solved(**fields, **_who(order)).model_dump_json().encode()
            kept = time.perf_counter() - began
        report(_step(one, now).model_dump(), best)

    def search(one: Problem, seconds: float) -> Solution:
        return solve(one, seconds, WORKERS, seed=ask.seed, on_improvement=tell_step, stop=stop)

    times = _learnt(order.bundle).quantiles(problem, ask.context) if ask.context or ask.risk is not None else None
    if times is None or ask.risk is None:
        solution = search(problem, ask.seconds)
        fields = _fields(problem, solution)
    else:
        steps: list[Step] = []

        def plan(eased: Problem) -> Schedule | None:
            found = search(eased, ask.seconds / len(LEVELS))
            steps.extend(_step(one, one.seconds) for one in found.history)
            return found.schedule

        found = robust(problem, times, ask.risk, plan)
        bound, risk = lower_bound(Shop(found.problem)), risk_of(found)
        fields = described(found.problem, found.schedule, bound, "robust search", risk)
        fields |= {"history": steps, "problem": found.problem, "seconds": time.perf_counter() - began}
    if times is not None and fields["schedule"] is not None:
        fields["times"] = times_of(problem, fields["schedule"], times)
    return Solved(**fields, **_who(order))


def _repair(order: RepairOrder, stop: Stop) -> Repaired:
    ask = order.ask
    options: dict[str, Any] = {
        "now": ask.now,
        "frozen": ask.frozen,
        "most_moved": ask.most_moved,
        "seconds": ask.seconds,
    }
    found = repair(ask.problem, ask.schedule, ask.events, workers=WORKERS, stop=stop, **options)
    moved = [Moved(job=job, operation=operation) for job, operation in found.moved]
    fields = _fields(found.problem, found.solution)
    if found.solution.schedule is not None:
        share = f"{len(moved)} of {len(ask.schedule.assignments)} operations moved ({100 * found.share:.0f} %)."
        fields["sentences"] = [*fields["sentences"], share]
    return Repaired(**fields, **_who(order), moved=moved, share=found.share)


def _explain(order: ExplainOrder) -> Explained:
    ask = order.ask
    problem, schedule = ask.problem, ask.schedule
    if schedule is None:
        found = why_infeasible(problem, ask.seconds, WORKERS)
        conflict = Conflict(feasible=found.feasible, constraints=list(found.constraints), minimal=found.minimal)
        head = {
            True: "There is a plan.",
            False: "There is no plan, because these cannot all hold:",
            None: f"Whether there is a plan is not known after {ask.seconds:g} s.",
        }
        return Explained(conflict=conflict, sentences=[head[found.feasible], *found.constraints])
    verdict = check(problem, schedule)
    if not verdict.feasible:
        raise InvalidRequest(f"the plan does not fit the problem: {verdict.violations[0]}", where="schedule")
    path, uses = critical_path(problem, schedule), [_use(load) for load in loads(problem, schedule)]
    late = late_jobs(problem, schedule)
    delays = [_delay(problem, schedule, name) for name in (ask.jobs or list(late)[:MOST_DELAYS])]
    first = uses[0]
    sentences = [
        f"The plan ends at {schedule.makespan:,}. The bottleneck is {first.name}: {first.critical:,} time units of the "
        f"critical path, {100 * first.utilisation:.0f} % busy.",
        *(delay.sentences[0] for delay in delays),
        *tell(path),
    ]
    return Explained(
        critical_path=[Link(**{name: getattr(one, name) for name in Link.model_fields}) for one in path],
        bottleneck=first,
        uses=uses,
        delays=delays,
        sentences=sentences,
    )


def _compare(order: WhatIfOrder, stop: Stop) -> Compared:
    ask = order.ask
    before, after = (solve(one, ask.seconds, WORKERS, stop=stop) for one in (ask.problem, ask.changed))
    found = compare(ask.problem, before, ask.changed, after)
    who = _who(order)
    return Compared(
        before=Solved(**_fields(ask.problem, before), **who),
        after=Solved(**_fields(ask.changed, after), **who),
        figures={name: Pair(before=one, after=two) for name, (one, two) in found.figures.items()},
        ends={name: Pair(before=one, after=two) for name, (one, two) in found.ends.items()},
        sentences=list(found.sentences),
    )


def _fields(problem: Problem, solution: Solution) -> dict[str, Any]:
    who = next((one.source for one in reversed(solution.history) if one.objective is not None), "nobody")
    fields = described(problem, solution.schedule, solution.bound, who, status=solution.status)
    if solution.status == "infeasible":
        fields["sentences"] = ["There is no plan: it is proven. Ask `explain` for the conflict."]
    elif solution.schedule is None:
        told = f"No plan was found within {solution.seconds:.0f} s, nor a proof that there is none: give it more time."
        fields["sentences"] = [told]
    history = [_step(one, one.seconds) for one in solution.history]
    return fields | {"history": history, "problem": problem, "seconds": solution.seconds}


def _step(one: Improvement, seconds: float) -> Step:
    return Step(seconds=seconds, objective=one.objective, bound=one.bound, gap=one.gap, source=one.source)


def _use(load: Any) -> Use:
    return Use(**asdict(load), utilisation=load.utilisation)


def _delay(problem: Problem, schedule: Schedule, job: str) -> Delay:
    found = asdict(why_late(problem, schedule, job))
    return Delay(**found | {"sentences": list(found["sentences"])})


def _who(order: Any) -> dict[str, Any]:
    return {"model": order.model, "simulated": order.simulated}


@lru_cache(maxsize=2)
def _learnt(bundle: Path | None) -> Durations:
    if bundle is None:
        raise InvalidRequest(
            "this service has learnt no processing times", where="risk", fix="leave risk and context out"
        )
    return Durations.of_bundle(load_bundle(bundle))
