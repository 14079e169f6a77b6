"""How fast a plan is there, and how fast it is mended: Taillard's largest job shops, and breakdowns."""

from __future__ import annotations

import time

import numpy as np

from common.data.card import load_card
from common.data.fetch import data_sha256
from common.evaluation.metrics import interval
from common.evaluation.report import Metric, Report, Slice
from common.progress import bar
from manufacturing.production_scheduling.checker import check, moved
from manufacturing.production_scheduling.config import Config
from manufacturing.production_scheduling.data import TAILLARD, load
from manufacturing.production_scheduling.events import Breakdown
from manufacturing.production_scheduling.jobshop import warm
from manufacturing.production_scheduling.measures import report_of
from manufacturing.production_scheduling.problem import Problem, Schedule
from manufacturing.production_scheduling.repair import repair
from manufacturing.production_scheduling.solve import solve

LARGEST = tuple(f"ta{number}" for number in range(71, 81))
"""100 jobs on 20 machines."""
RUNNING = tuple(f"ta{number}" for number in range(51, 56))
"""50 jobs on 15 machines."""
MOMENTS = (0.1, 0.3, 0.6)
"""Of the plan's length, when a machine breaks down."""
DOWN = 0.05
"""Of the plan's length that it stands still."""
FINAL, PLANNED = 20.0, 10.0
"""Seconds of the final plan, and of the plan that is mended."""


def first_plans(config: Config, preset: str) -> Report:
    """When the first checked plan of 100 x 20 is there, and how much longer it is than the final one."""
    warm()
    rows: dict[str, dict[str, float]] = {}
    with bar("first plans", len(LARGEST)) as advance:
        for name in LARGEST:
            began = time.perf_counter()
            found = solve(load(TAILLARD, name), FINAL, config.workers, seed=config.seed)
            read = time.perf_counter() - began - found.seconds
            first = next(step for step in found.history if step.objective is not None)
            assert first.objective is not None
            assert found.objective is not None
            above = first.objective / found.objective - 1
            rows[name] = {"first_seconds": read + first.seconds, "first_above_final": above}
            advance(1, name)
    return _report(config, preset, "first-plan-100x20", rows, {})


def breakdowns(config: Config, preset: str) -> Report:
    """Seconds, operations moved and price of mending plans of 50 x 15; beside it, planning all that is left anew."""
    warm()
    rows: dict[str, dict[str, float]] = {}
    anew: list[dict[str, float]] = []
    with bar("breakdowns", len(RUNNING) * len(MOMENTS)) as advance:
        for name in RUNNING:
            problem = load(TAILLARD, name)
            plan = solve(problem, PLANNED, config.workers, seed=config.seed).schedule
            assert plan is not None
            for moment in MOMENTS:
                now, event = _breakdown(plan, moment)
                began = time.perf_counter()
                found = repair(problem, plan, [event], now=now, workers=config.workers, seed=config.seed)
                spent = time.perf_counter() - began
                again = solve(found.problem, spent, config.workers, seed=config.seed)
                rows[f"{name} at {moment:.0%}"] = _figures(found.problem, plan, found.solution.schedule, spent)
                anew.append(_figures(found.problem, plan, again.schedule, again.seconds))
                advance(1, name)
    mean = {key: float(np.mean([row[key] for row in anew])) for key in anew[0]}
    return _report(config, preset, "breakdown-50x15", rows, {"planned anew in the same time": mean})


def _breakdown(plan: Schedule, moment: float) -> tuple[int, Breakdown]:
    """At a share of the plan's length, of the machine with the most work left."""
    now = int(moment * plan.makespan)
    left: dict[str, int] = {}
    for one in plan.assignments:
        left[one.machine] = left.get(one.machine, 0) + max(0, one.end - max(one.start, now))
    busiest = max(sorted(left), key=left.__getitem__)
    return now, Breakdown(machine=busiest, start=now, end=now + int(DOWN * plan.makespan))


def _figures(problem: Problem, old: Schedule, new: Schedule | None, seconds: float) -> dict[str, float]:
    if new is None or not check(problem, new).feasible:
        return {"repair_seconds": seconds, "moved": 1.0, "price": 1.0}
    share = len(moved(old, new)) / len(old.assignments)
    return {"repair_seconds": seconds, "moved": share, "price": new.makespan / old.makespan - 1}


def _report(
    config: Config,
    preset: str,
    protocol: str,
    rows: dict[str, dict[str, float]],
    baselines: dict[str, dict[str, float]],
) -> Report:
    """Means over rows with intervals that draw rows, and the largest values."""
    metrics: dict[str, Metric] = {}
    for name in next(iter(rows.values())):
        values = np.array([row[name] for row in rows.values()])
        drawn = np.random.default_rng(0).choice(values, (1_000, len(values)))
        low, high = interval(float(values.mean()), drawn.mean(axis=1))
        metrics[name] = Metric(value=float(values.mean()), low=low, high=high, n=len(values))
        most = float(values.max())
        metrics[f"{name}_most"] = Metric(value=most, low=most, high=most, n=len(values))
    points = {group: {name: _point(value) for name, value in row.items()} for group, row in rows.items()}
    slices = [Slice(name="instance", group=group, metrics=own) for group, own in points.items()]
    sha = data_sha256(load_card(TAILLARD))
    return report_of(
        "taillard", protocol, preset, False, sha, metrics=metrics, floor={}, baselines=baselines, slices=slices
    )


def _point(value: float) -> Metric:
    return Metric(value=value, low=value, high=value, n=1)
