"""The Gantt chart of a plan as a picture (PNG, SVG) in the style of the house; imports matplotlib when it draws."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from colorsys import hls_to_rgb
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

from manufacturing.production_scheduling.checker import lateness
from manufacturing.production_scheduling.gantt import Story, by_start, facts, lanes, setups_of, shut
from manufacturing.production_scheduling.problem import Assignment, Machine, Operators, Problem, Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LABELS = 400
"""Operations that are named; more could not be read."""
WIDE = 1.4
"""Times the width of a page."""
ROW_INCHES, LEAST_INCHES, MOST_INCHES = 0.27, 1.8, 30.0


def picture(
    problem: Problem, schedule: Schedule, story: Story | None = None, *, format: Literal["png", "svg"] = "png"
) -> bytes:
    """The chart; machines above, operators below."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from common.evaluation.plot_style import STYLE, WIDTH, shorten

    story, names = story or Story(), [machine.name for machine in problem.machines]
    people = [f"{pool.name} {number}" for pool in problem.operators for number in range(1, pool.count + 1)]
    height = min(MOST_INCHES, max(LEAST_INCHES, ROW_INCHES * (len(names) + len(people)) + 1.1))
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDE * WIDTH, height), dpi=130, layout="constrained")
        axes = figure.subplots()
        place = {name: row for row, name in enumerate([*names, *people])}
        if people:
            axes.axhline(len(names) - 0.5, color="#9CA3AF", linewidth=0.8)
        for machine in problem.machines:
            _draw_shut(axes, machine, [place[machine.name]], schedule.makespan)
        for pool in problem.operators:
            _draw_shut(axes, pool, [place[f"{pool.name} {n}"] for n in range(1, pool.count + 1)], schedule.makespan)
        # Of one unit of time, beside the names of the rows.
        inches = 0.86 * WIDE * WIDTH / max(1, schedule.makespan)
        _draw_bars(axes, problem, schedule, story, place, inches)
        axes.set_yticks(range(len(place)), [shorten(name, 24) for name in place])
        axes.set_ylim(len(place) - 0.4, -0.6)
        axes.set_xlim(0, max(1, schedule.makespan) * 1.01)
        axes.set_xlabel("time")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        told = ", ".join(f"{name.lower()} {value}" for name, value, *_ in facts(problem, schedule, story))
        title = f"{shorten(problem.name or 'Plan', 60)}: {told}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold", parse_math=False)
        target = BytesIO()
        figure.savefig(target, format=format, metadata={"Date": None} if format == "svg" else None)
    return target.getvalue()


def _draw_shut(axes: Axes, one: Machine | Operators, rows: Iterable[int], until: int) -> None:
    found = shut(one, until)
    closed, repairs = _widths(found["closed"]), _widths(found["maintenance"])
    pale: dict[str, Any] = {"facecolor": "#E3E6EB", "linewidth": 0}
    stripes: dict[str, Any] = {"facecolor": "none", "edgecolor": "#9CA3AF", "hatch": "/////", "linewidth": 0}
    for row in rows:
        axes.broken_barh(closed, (row - 0.5, 1), zorder=0.5, **pale)
        axes.broken_barh(closed, (row - 0.5, 1), zorder=4.5, alpha=0.6, **pale)  # what is interrupted shines through
        axes.broken_barh(repairs, (row - 0.5, 1), zorder=0.6, **stripes)


def _draw_bars(
    axes: Axes, problem: Problem, schedule: Schedule, story: Story, place: Mapping[str, int], inches: float
) -> None:
    """Three collections for all bars: 10,000 artists would take a minute."""
    from matplotlib.collections import PolyCollection

    from common.evaluation.plot_style import INK, ORANGE

    colours = {job.name: _colour(index) for index, job in enumerate(problem.jobs)}
    ends = {job.name: (job.due or 0) + over for job in problem.jobs if (over := lateness(job, schedule) or 0) > 0}
    critical, setups = set(story.path), setups_of(problem, schedule)
    by_row: dict[int, list[Assignment]] = defaultdict(list)
    for one in schedule.assignments:
        for name in (one.machine, *one.operators):
            by_row[place[name]].append(one)
    boxes, faces, edges, widths, tips, hatched = [], [], [], [], [], []
    for row, on in by_row.items():
        on.sort(key=by_start)
        beside = lanes(on)
        high = 0.76 / (max(beside) + 1)
        for one, lane in zip(on, beside, strict=True):
            key, bottom = (one.job, one.operation), row - 0.38 + lane * high
            boxes.append(_box(one.start, one.end, bottom, high))
            faces.append(colours[one.job])
            edges.append(INK if key in critical else "white")
            widths.append(1.1 if key in critical else min(0.4, 8 * (one.end - one.start) * inches))
            if ends.get(one.job) == one.end:
                tips.append(_box(max(one.start, one.end - 0.04 / inches), one.end, bottom, high))
            if (time := setups.get(key, 0)) and place[one.machine] == row:
                hatched.append(_box(one.start - time, one.start, bottom, high))
            room = int((one.end - one.start) * inches / 0.062)
            if len(schedule.assignments) <= MOST_LABELS and len(one.job) <= room and high > 0.3:
                look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 6.5, "color": INK, "zorder": 5}
                axes.text((one.start + one.end) / 2, bottom + high / 2, one.job, parse_math=False, **look)
    axes.add_collection(PolyCollection(boxes, facecolors=faces, edgecolors=edges, linewidths=widths, zorder=2))
    axes.add_collection(PolyCollection(tips, facecolors=ORANGE, linewidths=0, zorder=4))
    stripes: dict[str, Any] = {"facecolors": "none", "edgecolors": "#6B7280", "hatch": "//////", "linewidths": 0}
    axes.add_collection(PolyCollection(hatched, zorder=2, **stripes))


def _box(start: float, end: float, bottom: float, high: float) -> list[tuple[float, float]]:
    return [(start, bottom), (end, bottom), (end, bottom + high), (start, bottom + high)]


def _widths(spans: Iterable[Sequence[Any]]) -> list[tuple[int, int]]:
    return [(span[0], span[1] - span[0]) for span in spans]


def _colour(job: int) -> tuple[float, float, float]:
    """As in `gantt.js`: hues by the golden angle, all light enough for dark names."""
    return hls_to_rgb((205 + job * 137.508) % 360 / 360, 0.74 + job % 3 * 0.04, 0.58)
