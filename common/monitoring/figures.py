"""The figures of the monitor's page; like `common.evaluation.plots`, titles state the finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from common.evaluation.plot_style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PINK,
    SKY,
    STYLE,
    YELLOW,
    draw_bars,
    entitle,
    page_figure,
    shorten,
)
from common.monitoring.check import SHIFTED, STABLE
from common.monitoring.report import MonitorReport

LEAST_PSI = 0.005  # where the logarithmic axis ends: less is noise
MOST_FIELDS, MOST_LINES, MOST_LEVELS = 24, 5, 11
DRIFTS = ("input_drift", "prediction_drift")


@rc_context(STYLE)
def field_bars(window: MonitorReport) -> Figure:
    """PSI of each field of one window, the furthest first."""
    fields = sorted(window.fields, key=lambda field: -field.psi)[:MOST_FIELDS]
    alarmed = {alarm.field for alarm in window.alarms if alarm.kind in DRIFTS}
    figure, (axes,) = page_figure(1.3 + 0.24 * len(fields))
    drawn = draw_bars(axes, [field.name for field in fields], [field.psi for field in fields], None, "PSI")
    for bar, field in zip(drawn, fields, strict=True):
        bar.set_color(ORANGE if field.name in alarmed else SKY)
        axes.annotate(f" {field.psi:.2f}", (field.psi, bar.get_y() + bar.get_height() / 2), va="center", fontsize=8)
    axes.axvline(SHIFTED, color=GREY, linestyle=":", linewidth=1.2)
    axes.set_xlim(0, 1.1 * max(0.3, fields[0].psi))
    title = f"{len(alarmed)} of {len(window.fields)} fields drifted; {fields[0].name} moved most"
    entitle(figure, title)
    figure.set_label(f"PSI per field. {title}.")
    return figure


@rc_context(STYLE)
def drift_lines(windows: Sequence[MonitorReport]) -> Figure:
    """PSI over time of the fields that moved furthest; a ring marks an alarm."""
    worst = _worst(windows)[:MOST_LINES]
    times, figure, (axes,) = _times(windows), *page_figure(4.2)
    colours, highest = (ORANGE, BLUE, GREEN, PINK, YELLOW), 0.5
    for name, colour, style in zip(worst, colours, ("-", "--", "-.", ":", "-"), strict=False):
        values = [max(_psi(window, name), LEAST_PSI) for window in windows]
        axes.plot(times, values, color=colour, linestyle=style, label=shorten(name, 28), marker="o", markersize=3)
        rings = [i for i, window in enumerate(windows) if name in _drifted(window)]
        axes.plot([times[i] for i in rings], [values[i] for i in rings], "o", mfc="none", mec=colour, markersize=9)
        highest = max(highest, *(value for value in values if value == value))
    for level, text in ((STABLE, f"stable below {STABLE}"), (SHIFTED, f"shifted above {SHIFTED}")):
        axes.axhline(level, color=GREY, linestyle=":", linewidth=1.2)
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
        axes.annotate(text, (1, level), fontsize=8, color=GREY, **place)
    _dates(axes)
    axes.set(yscale="log", ylim=(LEAST_PSI, 1.5 * highest), ylabel="PSI against training")
    ticks = [tick for tick in (0.01, 0.03, STABLE, SHIFTED, 1, 3, 10) if tick < 1.5 * highest]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axes.set_yticks([], minor=True)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2, ncols=2)
    drifted = sum(bool(_drifted(window)) for window in windows)
    title = f"Drift alarms in {drifted} of {len(windows)} windows; {worst[0]} moved most"
    entitle(figure, title)
    figure.set_label(f"Population stability over time, rings mark alarms. {title}.")
    return figure


@rc_context(STYLE)
def drift_map(windows: Sequence[MonitorReport]) -> Figure:
    """All fields against all windows in order of time, coloured by verdict, a dot for an alarm of any kind."""
    names = _worst(windows)[:MOST_FIELDS]
    values = np.array([[_psi(window, name) for window in windows] for name in names])
    figure, (axes,) = page_figure(1.4 + 0.22 * len(names))
    colours = ListedColormap(["#EAF3F9", "#F6D9A8", "#E08A5B"]).with_extremes(bad="#D1D5DB")
    axes.imshow(values, aspect="auto", cmap=colours, norm=BoundaryNorm([-1, STABLE, SHIFTED, 1e9], 3))
    for i, window in enumerate(windows):
        rows = [names.index(field) for field in {alarm.field for alarm in window.alarms} if field in names]
        axes.plot([i] * len(rows), rows, "o", color=INK, markersize=min(4.0, 160 / len(windows)))
    axes.set_yticks(range(len(names)), [shorten(name, 34) for name in names], fontsize=8)
    step = -(-len(windows) // 6)
    axes.set_xticks(range(0, len(windows), step), _names(windows)[::step])
    axes.grid(visible=False)
    calm = int((np.nan_to_num(values).max(axis=1) <= SHIFTED).sum())
    title = f"{calm} of {len(names)} fields never shifted "
    entitle(figure, title)
    figure.set_label(f"Verdict of every field in every window. {title}.")
    return figure


@rc_context(STYLE)
def distribution(name: str, histogram: Mapping[str, Any], now: Sequence[float], psi: float) -> Figure:
    """Share of rows per bin at training and now; levels beyond `MOST_LEVELS` are left out, the rarest first."""
    before, after = np.asarray(histogram["shares"], dtype=float), np.asarray(now, dtype=float)
    kept = np.arange(len(before))
    if "levels" in histogram:
        kept = np.sort(np.argsort(-np.maximum(before, after), kind="stable")[:MOST_LEVELS])
        kept = kept[(before + after)[kept] > 0]
    labels = [shorten(_bin_names(histogram)[i], 30) for i in kept]
    figure, (axes,) = page_figure(1.5 + 0.27 * len(kept))
    places = np.arange(len(kept))
    axes.barh(places - 0.2, before[kept], height=0.36, color=SKY, label="training")
    axes.barh(places + 0.2, after[kept], height=0.36, color=ORANGE, label="now")
    axes.set_yticks(places, labels)
    axes.set_ylim(len(kept) - 0.4, -0.6)
    axes.set_xlabel("share of rows")
    axes.grid(visible=False, axis="y")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1.0), borderaxespad=0, ncols=2)
    most = int(np.argmax(np.abs(after - before)))
    title = f"{shorten(name)}: {_bin_names(histogram)[most]} went from {before[most]:.0%} to {after[most]:.0%}"
    entitle(figure, f"{title} (PSI {psi:.2f})")
    figure.set_label(f"Distribution of {name} at training and now. {title}.")
    return figure


@rc_context(STYLE)
def performance_lines(windows: Sequence[MonitorReport], metric: str) -> Figure:
    """A live metric over time with 95 % intervals, and the bundle's promise."""
    measured = [
        (window, found)
        for window in windows
        for found in (window.performance.metrics if window.performance else ())
        if found.name == metric
    ]
    times, values = _times([window for window, _ in measured]), [found.value for _, found in measured]
    ends = np.array([[found.value - found.low, found.high - found.value] for _, found in measured]).T
    figure, (axes,) = page_figure(3.0)
    axes.errorbar(
        times, values, yerr=np.maximum(ends, 0), color=BLUE, marker="o", markersize=4, capsize=3, label="live"
    )
    promised = measured[-1][1].baseline
    title = f"{metric.upper() if len(metric) <= 4 else metric} is {values[-1]:.3f} in the latest window with labels"
    if promised is not None:
        axes.axhline(promised, color=GREY, linestyle="--", linewidth=1.2, label=f"at training {promised:.3f}")
        title += f", {promised:.3f} at training"
    axes.legend(loc="best")
    axes.set_ylabel(metric)
    _dates(axes)
    entitle(figure, title)
    figure.set_label(f"Live {metric} over time with 95 % intervals. {title}.")
    return figure


def _worst(windows: Sequence[MonitorReport]) -> list[str]:
    highest: dict[str, float] = {}
    for window in [window for window in windows if window.judged] or windows:
        for field in window.fields:
            highest[field.name] = max(highest.get(field.name, 0.0), field.psi)
    return sorted(highest, key=lambda name: -highest[name])


def _psi(window: MonitorReport, name: str) -> float:
    if not window.judged:
        return float("nan")
    return next((field.psi for field in window.fields if field.name == name), float("nan"))


def _drifted(window: MonitorReport) -> set[str]:
    return {alarm.field for alarm in window.alarms if alarm.kind in DRIFTS}


def _times(windows: Sequence[MonitorReport]) -> list[Any]:
    known = all(window.until for window in windows)
    return [window.until.replace(tzinfo=None) if known and window.until else i for i, window in enumerate(windows)]


def _names(windows: Sequence[MonitorReport]) -> list[str]:
    times = [window.since for window in windows]
    if not all(times):
        return [str(i + 1) for i in range(len(windows))]
    days = (max(t for t in times if t) - min(t for t in times if t)).days >= 2
    return [f"{time:%d %b}" if days else f"{time:%H:%M}" for time in times if time]


def _dates(axes: Axes) -> None:
    locator = AutoDateLocator(maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _bin_names(histogram: Mapping[str, Any]) -> list[str]:
    if "levels" in histogram:
        levels = [f"{level:g}" if isinstance(level, int | float) else str(level) for level in histogram["levels"]]
        return [*levels, "any other"]
    edges = [f"{edge:.4g}" for edge in histogram["edges"]]
    inner = [f"{low} to {high}" for low, high in pairwise(edges)]
    return [f"up to {edges[0]}", *inner, f"over {edges[-1]}"] if edges else ["all"]
