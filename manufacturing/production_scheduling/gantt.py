"""The Gantt chart of a plan as an interactive page in one file that loads nothing; `picture.py` draws it.

`gantt.html` around `gantt.js`, with the plan as JSON in it. The script is allowed by its hash and nothing else is, so
that a job's name can never run.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from manufacturing.production_scheduling.checker import lateness, measure
from manufacturing.production_scheduling.problem import Assignment, Machine, Operators, Problem, Schedule, Window

HERE = Path(__file__).parent
Key = tuple[str, str]
Span = tuple[int, int]


@dataclass(frozen=True)
class Story:
    """What is known of a plan beside the plan: all of it may be left out."""

    bound: int | None = None
    gap: float | None = None
    path: Sequence[Key] = ()
    """The critical path, as (job, operation)."""
    why: Mapping[Key, str] = field(default_factory=dict)
    """Why an operation does not start earlier."""


def policy() -> str:
    """The content security policy of the page, for the header of an answer."""
    digest = b64encode(hashlib.sha256(_script().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )


def page(
    problem: Problem,
    schedule: Schedule,
    story: Story | None = None,
    *,
    origin: datetime | None = None,
    unit_seconds: int = 60,
) -> str:
    """The page as HTML. With `origin`, the moment of time 0 and a zone, its axis has dates in that zone."""
    story, title, until = story or Story(), problem.name or "Plan", schedule.makespan
    place = {job.name: index for index, job in enumerate(problem.jobs)}
    rows: list[dict[str, Any]] = [
        {"name": machine.name, "operator": False, **shut(machine, until)} for machine in problem.machines
    ]
    rows += [
        {"name": f"{pool.name} {number}", "operator": True, **shut(pool, until)}
        for pool in problem.operators
        for number in range(1, pool.count + 1)
    ]
    row_of = {(row["operator"], row["name"]): index for index, row in enumerate(rows)}
    setups = setups_of(problem, schedule)
    number: dict[Key, int] = {}
    bars: list[list[Any]] = []
    for machine in problem.machines:
        on = sorted((one for one in schedule.assignments if one.machine == machine.name), key=by_start)
        beside = lanes(on)
        rows[row_of[False, machine.name]]["lanes"] = max(beside, default=0) + 1
        for one, lane in zip(on, beside, strict=True):
            key = one.job, one.operation
            number[key] = len(bars)
            people = [row_of[True, person] for person in one.operators]
            where = row_of[False, one.machine]
            setup, why = setups.get(key, 0), story.why.get(key, "")
            bars.append([place[one.job], one.operation, where, one.start, one.end, lane, setup, why, people])
    plan = {
        "title": title,
        "figures": facts(problem, schedule, story),
        "origin": _plant_clock(origin),
        "unit": unit_seconds,
        "end": until,
        "jobs": [
            {"name": job.name, "due": job.due, "late": max(0, lateness(job, schedule) or 0)} for job in problem.jobs
        ],
        "rows": rows,
        "bars": bars,
        "path": [number[key] for key in story.path if key in number],
    }
    # In a script element only `<` could end or open something.
    data = json.dumps(plan, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    digest = policy().partition("'sha256-")[2].partition("'")[0]
    texts = {"hash": digest, "script": _script(), "title": html.escape(title), "data": data}
    template = (HERE / "gantt.html").read_text(encoding="utf-8")
    # All marks at once: a name that looks like one stays a name.
    return re.sub(f"@({'|'.join(texts)})@", lambda mark: texts[mark[1]], template)


def setups_of(problem: Problem, schedule: Schedule) -> dict[Key, int]:
    """The time of the setup right before each operation that has one."""
    family = {
        (job.name, name): operation.family
        for job in problem.jobs
        for name, operation in zip(job.names, job.operations, strict=True)
    }
    found, last = {}, {machine.name: (machine.initial_family, (-1, -1)) for machine in problem.machines}
    for one in sorted(schedule.assignments, key=by_start):
        key, (before, span) = (one.job, one.operation), last[one.machine]
        machine = problem.machine[one.machine]
        alike = machine.capacity > 1 and span == (one.start, one.end)  # in one batch
        if not alike and (time := machine.setup(before, family[key])):
            found[key] = time
        last[one.machine] = family[key], (one.start, one.end)
    return found


def facts(problem: Problem, schedule: Schedule, story: Story) -> list[tuple[str, ...]]:
    """What stands above the chart: (name, value) or (name, value, mark)."""
    figures = measure(problem, schedule)
    found: list[tuple[str, ...]] = [("Makespan", f"{figures['makespan']:,}")]
    weights = problem.objective.weights
    if weights != {"makespan": 1}:
        found += [(name.capitalize(), f"{figures[name]:,}") for name in weights if name != "makespan"]
        total = sum(weight * figures[name] for name, weight in weights.items())
        found.append(("Objective", f"{total:,}"))
    if story.bound is not None:
        found.append(("Bound", f"{story.bound:,}"))
    if story.gap is not None:
        found.append(("Gap", f"{100 * story.gap:.1f} %"))
    if due := sum(job.due is not None for job in problem.jobs):
        mark = ("late",) if figures["late"] else ()
        found.append(("Late jobs", f"{figures['late']} of {due}", *mark))
    return found


def shut(one: Machine | Operators, until: int) -> dict[str, Any]:
    """When it does not work, and its maintenance with names."""
    closed = [span for window in one.breaks for span in window.until(until)]
    if one.calendar is not None:
        edge = 0
        for start, end in sorted(span for window in one.calendar for span in window.until(until)):
            if start > edge:
                closed.append((edge, start))
            edge = max(edge, end)
        if edge < until:
            closed.append((edge, until))
    repairs = _named(one.maintenance, until) if isinstance(one, Machine) else []
    return {"closed": sorted(closed), "maintenance": repairs, "lanes": 1}


def _named(windows: Iterable[Window], until: int) -> list[tuple[int, int, str]]:
    return [(start, end, window.name or "maintenance") for window in windows for start, end in window.until(until)]


def lanes(on: Sequence[Assignment]) -> list[int]:
    """Beside each other what runs at the same time; `on` by start."""
    ends: list[int] = []
    found = []
    for one in on:
        lane = next((index for index, end in enumerate(ends) if end <= one.start), len(ends))
        ends[lane : lane + 1] = [one.end]
        found.append(lane)
    return found


def _plant_clock(origin: datetime | None) -> int | None:
    """Milliseconds such that UTC's fields show the plant's clock."""
    if origin is None:
        return None
    offset = origin.utcoffset()
    if offset is None:
        raise ValueError("the origin has no zone; give one, such as 2026-01-05T06:00:00+01:00")
    return round((origin.timestamp() + offset.total_seconds()) * 1000)


def by_start(one: Assignment) -> Span:
    """A key for sorting."""
    return one.start, one.end


@cache
def _script() -> str:
    return (HERE / "gantt.js").read_text(encoding="utf-8")
