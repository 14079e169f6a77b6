"""A plan at once: dispatching rules and the learnt policy, the same answer to the same request every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import InvalidRequest
from manufacturing.production_scheduling.answers import Method, OperationTime, Risk, Status
from manufacturing.production_scheduling.checker import check, lateness
from manufacturing.production_scheduling.dispatch import RULES, Rule, dispatch
from manufacturing.production_scheduling.durations import Times, options
from manufacturing.production_scheduling.policy import Policy
from manufacturing.production_scheduling.problem import Problem, Schedule
from manufacturing.production_scheduling.robust import Robust
from manufacturing.production_scheduling.shop import Shop

ALL, SOME = 2_000, 20_000
"""Up to so many operations all rules are tried (3 s), and up to so many two; beyond, one. By size and not by the
clock, or answers would differ from one time to the next."""
MOST = 50_000
"""Operations of a problem: a rule takes 5 s."""


@dataclass(frozen=True)
class Instant:
    """The best plan and who found it or, without one that keeps everything, what is wrong with the best."""

    method: str
    schedule: Schedule | None
    violations: tuple[str, ...]


def plan_at_once(problem: Problem, method: Method, policy: Policy | None) -> Instant:
    """The best plan of the rules that `method` names; raises `InvalidRequest` for a problem that is too large."""
    if problem.size > MOST:
        expected = f"at most {MOST:,} operations"
        raise InvalidRequest("too large a problem", where="problem", got=f"{problem.size:,}", expected=expected)
    shop = Shop(problem)
    found: tuple[tuple[bool, int], Instant] | None = None
    for name, rule in _rules(shop, method, policy):
        plan = dispatch(shop, rule)
        if plan is None:  # what never fits does so in any order
            return Instant("", None, ("Some operation never fits the calendars of its machine and operators.",))
        schedule = shop.schedule(plan)
        verdict = check(problem, schedule)
        rank = (not verdict.feasible, verdict.objective)
        if found is None or rank < found[0]:
            found = rank, Instant(name, schedule, verdict.violations)
    assert found
    best = found[1]
    if best.violations:  # deadlines, which dispatching cannot look ahead for
        advice = "Dispatching keeps no deadlines: ask for a plan by `plans`, or why there is none by `explain`."
        return Instant("", None, (*(f"{text[0].upper()}{text[1:]}." for text in best.violations[:5]), advice))
    return best


def _rules(shop: Shop, method: Method, policy: Policy | None) -> list[tuple[str, Rule]]:
    learnt = [("policy", policy.rule(shop))] if policy and method in ("best", "policy") else []
    if method == "policy" and learnt:
        return learnt
    if method in RULES:
        return [(method, RULES[method])]
    rules = list(RULES.items())
    if len(shop) > ALL:
        due = any(job.due is not None for job in shop.jobs)
        rules, learnt = [(name, RULES[name]) for name in (("atc", "mwkr") if due else ("mwkr", "spt"))], []
    return [*learnt, *rules[: 1 if len(shop) > SOME else None]]


def late_jobs(problem: Problem, schedule: Schedule) -> dict[str, int]:
    """Jobs after their due date and by how much, the latest first."""
    late = {job.name: lateness(job, schedule) or 0 for job in problem.jobs}
    return dict(sorted(((name, time) for name, time in late.items() if time > 0), key=lambda item: -item[1]))


def times_of(problem: Problem, schedule: Schedule, times: Times) -> list[OperationTime]:
    """Quantiles of each operation on the machine that the plan gives it, in the order of the plan."""
    ratios = zip(*(times.at(level).tolist() for level in (0.1, 0.5, 0.9)), strict=True)
    found = {}
    for (job, name, operation, machine), row in zip(options(problem), ratios, strict=True):
        q10, q50, q90 = (round(ratio * operation.durations[machine], 3) for ratio in row)
        one = OperationTime(job=job.name, operation=name, machine=machine, q10=q10, q50=q50, q90=q90)
        found[job.name, name, machine] = one
    return [found[one.job, one.operation, one.machine] for one in schedule.assignments]


def risk_of(found: Robust) -> Risk:
    """A robust plan's promise for the answer."""
    q10, q50, q90 = found.makespan
    return Risk(
        promised=found.promised,
        achieved=found.achieved,
        low=found.low,
        high=found.high,
        level=found.level,
        makespan_q10=q10,
        makespan_q50=q50,
        makespan_q90=q90,
        late=found.late,
        draws=found.draws,
    )


def described(
    problem: Problem,
    schedule: Schedule | None,
    bound: int,
    method: str,
    risk: Risk | None = None,
    status: Status = "unknown",
) -> dict[str, Any]:
    """The fields of a `Plan`, after the last look of the checker; `status` is that of a problem without a plan.

    Raises `RuntimeError` when the checker finds anything: no solver may do that.
    """
    if schedule is None:
        fields: dict[str, Any] = {"status": status, "objective": None, "bound": bound, "gap": None, "figures": {}}
        return {**fields, "schedule": None, "method": method, "late": {}, "sentences": told(None, bound, [], None)}
    verdict = check(problem, schedule)
    if not verdict.feasible:
        raise RuntimeError(f"a plan of {method} is not feasible: {verdict.violations[0]}")
    objective = verdict.objective
    bound, late = min(bound, objective), late_jobs(problem, schedule)
    return {
        "status": "optimal" if objective <= bound else "feasible",
        "objective": objective,
        "bound": bound,
        "gap": (objective - bound) / objective if objective else 0.0,
        "figures": verdict.figures,
        "schedule": schedule,
        "method": method,
        "late": late,
        "risk": risk,
        "problem": problem if risk else None,
        "sentences": told(objective, bound, list(late), risk),
    }


def told(objective: int | None, bound: int, late: Sequence[str], risk: Risk | None) -> list[str]:
    """What a person should know of a plan."""
    if objective is None:
        return ["No plan was found."]
    best = "no plan can be better" if objective <= bound else f"no plan can be below {bound:,}"
    found = [f"The objective is {objective:,}, and {best}."]
    if late:
        shown = ", ".join(late[:5]) + (f" and {len(late) - 5} more" if len(late) > 5 else "")
        found.append(f"{len(late)} job{'s are' if len(late) > 1 else ' is'} late: {shown}.")
    if risk:
        found.append(
            f"It ends later than it says with a probability of at most {100 * risk.promised:g} %; "
            f"in {risk.draws:,} simulated runs it did in {100 * risk.achieved:.1f} %."
        )
    return found
