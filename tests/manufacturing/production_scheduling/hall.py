"""A plant with everything a chart can show, and a plan of it."""

from __future__ import annotations

from functools import cache
from typing import Any

from manufacturing.production_scheduling.instant import plan_at_once
from manufacturing.production_scheduling.problem import Problem, Schedule

EVIL = "</script><script>alert(1)</script>"
DAY = [{"start": 0, "end": 960, "every": 1440}]
LUNCH = [{"start": 240, "end": 270, "every": 1440}]
SETUPS = {"steel": {"brass": 20}, "brass": {"steel": 20}}
HALL: dict[str, Any] = {
    "name": f"Week 2 {EVIL} <&>",
    "machines": [
        {"name": "Saw", "calendar": DAY, "breaks": LUNCH},
        {"name": "Mill", "calendar": DAY, "breaks": LUNCH, "setups": SETUPS, "initial_family": "steel"},
        {"name": "Lathe", "maintenance": [{"start": 100, "end": 160, "name": "spindle"}]},
        {"name": "Oven", "capacity": 2},
    ],
    "operators": [{"name": "millers", "count": 2, "calendar": DAY}],
    "jobs": [
        {
            "name": name,
            "due": due,
            "operations": [
                {"name": "saw", "durations": {"Saw": 40}, "interruptible": True},
                {
                    "name": "mill",
                    "durations": {"Mill": 70},
                    "family": family,
                    "operators": {"millers": 1},
                    "interruptible": True,
                },
                {"name": "turn", "durations": {"Lathe": 30}, "lag": 10},
                {"name": "harden", "durations": {"Oven": 120}, "batch": "h"},
            ],
        }
        for name, due, family in (
            ("=1+1", 300, "steel"),
            (EVIL, 400, "brass"),
            ("Ö-3; a, b\\c\n2nd line", 500, "steel"),
            ("O-4", None, "brass"),
        )
    ],
    "objective": {"makespan": 1, "tardiness": 1},
}


@cache
def planned() -> tuple[Problem, Schedule]:
    problem = Problem.model_validate(HALL)
    schedule = plan_at_once(problem, "best", None).schedule
    assert schedule is not None
    return problem, schedule
