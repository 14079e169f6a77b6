"""The Gantt chart of a plan: an interactive page in one file that loads nothing, and a picture (PNG, SVG).

Page: `gantt.html` around `gantt.js`, with the plan as JSON in it. The script is allowed by its hash, nothing else is,
so that a job's name can never run. Picture: matplotlib, imported when one is drawn.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from colorsys import hls_to_rgb
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from manufacturing.production_scheduling.checker import lateness, measure
from manufacturing.production_scheduling.problem import Assignment, Machine, Operators, Problem, Schedule, Window

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HERE = Path(__file__).parent
Key = tuple[str, str]
Span = tuple[int, int]
MOST_LABELS = 400
"""Operations of a picture that are named; more could not be read."""
ROW_INCHES, LEAST_INCHES, MOST_INCHES = 0.27, 1.8, 30.0


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
        {"name": machine.name, "operator": False, **_shut(machine, until)} for machine in problem.machines
    ]
    rows += [
        {"name": f"{pool.name} {number}", "operator": True, **_shut(pool, until)}
        for pool in problem.operators
        for number in range(1, pool.count + 1)
    ]
    row_of = {(row["operator"], row["name"]): index for index, row in enumerate(rows)}
    setups, number, bars = setups_of(problem, schedule), {}, []
    for machine in problem.machines:
        on = sorted((one for one in schedule.assignments if one.machine == machine.name), key=_start)
        lanes = _lanes(on)
        rows[row_of[False, machine.name]]["lanes"] = max(lanes, default=0) + 1
        for one, lane in zip(on, lanes, strict=True):
            key = one.job, one.operation
            number[key] = len(bars)
            people = [row_of[True, person] for person in one.operators]
            where = row_of[False, one.machine]
            setup, why = setups.get(key, 0), story.why.get(key, "")
            bars.append([place[one.job], one.operation, where, one.start, one.end, lane, setup, why, people])
    plan = {
        "title": title,
        "figures": _figures(problem, schedule, story),
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
    for one in sorted(schedule.assignments, key=_start):
        key, (before, span) = (one.job, one.operation), last[one.machine]
        machine = problem.machine[one.machine]
        alike = machine.capacity > 1 and span == (one.start, one.end)  # in one batch
        if not alike and (time := machine.setup(before, family[key])):
            found[key] = time
        last[one.machine] = family[key], (one.start, one.end)
    return found


def picture(
    problem: Problem, schedule: Schedule, story: Story | None = None, *, format: Literal["png", "svg"] = "png"
) -> bytes:
    """The chart as a picture in the style of the house; machines above, operators below."""
    from matplotlib import rc_context

    from common.evaluation.plot_style import STYLE, WIDTH, shorten

    story, names = story or Story(), [machine.name for machine in problem.machines]
    people = [f"{pool.name} {number}" for pool in problem.operators for number in range(1, pool.count + 1)]
    height = min(MOST_INCHES, max(LEAST_INCHES, ROW_INCHES * (len(names) + len(people)) + 1.1))
    with rc_context(STYLE):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(1.4 * WIDTH, height), dpi=130, layout="constrained")
        axes = figure.subplots()
        place = {name: row for row, name in enumerate([*names, *people])}
        if people:
            axes.axhline(len(names) - 0.5, color="#9CA3AF", linewidth=0.8)
        for one in (*problem.machines, *problem.operators):
            _draw_shut(axes, one, place, schedule.makespan)
        _draw_bars(axes, problem, schedule, story, place)
        axes.set_yticks(range(len(place)), [shorten(name, 24) for name in place])
        axes.set_ylim(len(place) - 0.4, -0.6)
        axes.set_xlim(0, max(1, schedule.makespan) * 1.01)
        axes.set_xlabel("time")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        facts = ", ".join(f"{name.lower()} {value}" for name, value, *_ in _figures(problem, schedule, story))
        title = f"{shorten(problem.name or 'Plan', 60)}: {facts}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold", parse_math=False)
        target = BytesIO()
        figure.savefig(target, format=format, metadata={"Date": None} if format == "svg" else None)
    return target.getvalue()


def _draw_shut(axes: Axes, one: Machine | Operators, place: Mapping[str, int], until: int) -> None:
    names = [one.name] if isinstance(one, Machine) else [f"{one.name} {n}" for n in range(1, one.count + 1)]
    shut = _shut(one, until)
    pale = {"facecolor": "#E3E6EB", "linewidth": 0}
    stripes = {"facecolor": "none", "edgecolor": "#9CA3AF", "hatch": "/////", "linewidth": 0, "zorder": 0.6}
    for row in (place[name] for name in names if name in place):
        axes.broken_barh(_widths(shut["closed"]), (row - 0.5, 1), **pale, zorder=0.5)
        axes.broken_barh(
            _widths(shut["closed"]), (row - 0.5, 1), **pale, zorder=4.5, alpha=0.6
        )  # over interrupted ones
        axes.broken_barh(_widths(shut["maintenance"]), (row - 0.5, 1), **stripes)


def _draw_bars(axes: Axes, problem: Problem, schedule: Schedule, story: Story, place: Mapping[str, int]) -> None:
    """Three collections for all bars: 10,000 artists would take a minute."""
    from matplotlib.collections import PolyCollection

    from common.evaluation.plot_style import INK, ORANGE

    colours = {job.name: _colour(index) for index, job in enumerate(problem.jobs)}
    late = {
        job.name: job.due + over
        for job in problem.jobs
        if job.due is not None and (over := lateness(job, schedule) or 0) > 0
    }
    critical, setups = set(story.path), setups_of(problem, schedule)
    by_row: dict[int, list[Assignment]] = defaultdict(list)
    for one in schedule.assignments:
        for name in (one.machine, *one.operators):
            by_row[place[name]].append(one)
    inches = 0.86 * axes.figure.get_size_inches()[0] / max(1, schedule.makespan)  # of one unit of time
    boxes, faces, edges, widths, tips, hatched = [], [], [], [], [], []
    for row, on in by_row.items():
        on.sort(key=_start)
        lanes = _lanes(on)
        high = 0.76 / (max(lanes) + 1)
        for one, lane in zip(on, lanes, strict=True):
            key, bottom, strong = (
                (one.job, one.operation),
                row - 0.38 + lane * high,
                (one.job, one.operation) in critical,
            )
            boxes.append(_box(one.start, one.end, bottom, high))
            faces.append(colours[one.job])
            edges.append(INK if strong else "white")
            widths.append(1.1 if strong else min(0.4, 8 * (one.end - one.start) * inches))
            if late.get(one.job) == one.end:
                tips.append(_box(max(one.start, one.end - 0.04 / inches), one.end, bottom, high))
            if (time := setups.get(key, 0)) and place[one.machine] == row:
                hatched.append(_box(one.start - time, one.start, bottom, high))
            room = int((one.end - one.start) * inches / 0.062)
            if len(schedule.assignments) <= MOST_LABELS and len(one.job) <= room and high > 0.3:
                middle, look = (one.start + one.end) / 2, {"fontsize": 6.5, "color": INK, "zorder": 5}
                axes.text(middle, bottom + high / 2, one.job, ha="center", va="center", parse_math=False, **look)
    axes.add_collection(PolyCollection(boxes, facecolors=faces, edgecolors=edges, linewidths=widths, zorder=2))
    axes.add_collection(PolyCollection(tips, facecolors=ORANGE, linewidths=0, zorder=4))
    stripes = {"facecolors": "none", "edgecolors": "#6B7280", "hatch": "//////", "linewidths": 0}
    axes.add_collection(PolyCollection(hatched, **stripes, zorder=2))


def _box(start: float, end: float, bottom: float, high: float) -> list[tuple[float, float]]:
    return [(start, bottom), (end, bottom), (end, bottom + high), (start, bottom + high)]


def _colour(job: int) -> tuple[float, float, float]:
    """As in `gantt.js`: hues by the golden angle, all light enough for dark names."""
    return hls_to_rgb((205 + job * 137.508) % 360 / 360, 0.74 + job % 3 * 0.04, 0.58)


def _figures(problem: Problem, schedule: Schedule, story: Story) -> list[tuple[str, ...]]:
    """What stands above the chart: (name, value) or (name, value, mark)."""
    figures, found = measure(problem, schedule), []
    found.append(("Makespan", f"{figures['makespan']:,}"))
    weights = problem.objective.weights
    if list(weights) != ["makespan"]:
        found += [(name.capitalize(), f"{figures[name]:,}") for name in weights if name != "makespan"]
    if story.bound is not None:
        found.append(("Bound", f"{story.bound:,}"))
    if story.gap is not None:
        found.append(("Gap", f"{100 * story.gap:.1f} %"))
    if due := sum(job.due is not None for job in problem.jobs):
        mark = ("late",) if figures["late"] else ()
        found.append(("Late jobs", f"{figures['late']} of {due}", *mark))
    return found


def _shut(one: Machine | Operators, until: int) -> dict[str, Any]:
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


def _widths(spans: Iterable[Sequence[Any]]) -> list[tuple[int, int]]:
    return [(span[0], span[1] - span[0]) for span in spans]


def _lanes(on: Sequence[Assignment]) -> list[int]:
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


def _start(one: Assignment) -> Span:
    return one.start, one.end


@cache
def _script() -> str:
    return (HERE / "gantt.js").read_text(encoding="utf-8")
