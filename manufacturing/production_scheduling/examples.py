"""A small plant for the examples of the routes: two calendars, setups, a due date that is hard to keep, an oven."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from manufacturing.production_scheduling.instant import plan_at_once
from manufacturing.production_scheduling.problem import Problem, Schedule

SETUPS = {"steel": {"brass": 15}, "brass": {"steel": 20}}
PLANT: dict[str, Any] = {
    "name": "Monday",
    "machines": [
        {"name": "saw", "calendar": [{"start": 0, "end": 480, "every": 1440, "name": "early shift"}]},
        {"name": "mill A", "setups": SETUPS, "initial_family": "steel"},
        {"name": "mill B", "setups": SETUPS, "maintenance": [{"start": 120, "end": 180, "name": "spindle"}]},
        {"name": "oven", "capacity": 2},
    ],
    "operators": [{"name": "millers", "count": 1}],
    "jobs": [
        {
            "name": f"order {number}",
            "due": due,
            "weight": weight,
            "operations": [
                {"name": "saw", "durations": {"saw": sawing}},
                {
                    "name": "mill",
                    "durations": {"mill A": milling, "mill B": milling + 10},
                    "family": family,
                    "operators": {"millers": 1},
                    "lag": 5,
                },
                {"name": "harden", "durations": {"oven": 90}, "batch": "800 °C"},
            ],
        }
        for number, due, weight, sawing, milling, family in (
            (1, 200, 1, 20, 45, "steel"),
            (2, 220, 3, 15, 60, "brass"),
            (3, 320, 1, 25, 30, "steel"),
            (4, 500, 2, 10, 50, "brass"),
        )
    ],
    "objective": {"makespan": 1, "tardiness": 2},
}


@lru_cache(maxsize=1)
def example() -> tuple[Problem, Schedule]:
    """The plant and a plan of it."""
    problem = Problem.model_validate(PLANT)
    schedule = plan_at_once(problem, "best", None).schedule
    assert schedule is not None
    return problem, schedule
