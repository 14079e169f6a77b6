"""How every figure looks: colours, fonts, page width.

Colours are Okabe and Ito's (2008), which the colour-blind can tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PINK, SKY, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#6B7280"
YELLOW, INK, RULE = "#E69F00", "#1F2937", "#E5E7EB"
WIDTH = 6.4  # inches: at 100 dpi the 640 pixels of a narrow page, where 9 point text is still read with ease
MOST_POINTS = 400  # of a curve: more cannot be seen and only makes the page heavy

STYLE: dict[str, Any] = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 9,
    "axes.edgecolor": "#9CA3AF",
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": "#4B5563",
    "ytick.color": "#4B5563",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.hashsalt": "espalier",
}


def page_figure(height: float, columns: int | tuple[int, ...] = 1) -> tuple[Figure, list[Axes]]:
    """A figure of page width: axes side by side, or stacked with the given height ratios."""
    figure = Figure(figsize=(WIDTH, height), dpi=100, layout="constrained")
    if isinstance(columns, tuple):
        axes = figure.subplots(len(columns), 1, sharex=True, squeeze=False, height_ratios=columns)
    else:
        axes = figure.subplots(1, columns, squeeze=False)
    return figure, list(axes.ravel())


def entitle(figure: Figure, title: str) -> None:
    """Set the finding as title of the whole figure, wrapped to its width."""
    figure.suptitle("\n".join(wrap(title, 76)), x=0.01, ha="left", fontsize=10.5, fontweight="bold")


def draw_bars(axes: Axes, names: Sequence[str], values: Any, intervals: Any, xlabel: str) -> BarContainer:
    """Horizontal bars from the top down; `intervals` has shape (n, 2) or is None."""
    places, lengths = np.arange(len(names)), np.asarray(values, dtype=float)
    whiskers = None if intervals is None else np.abs(np.asarray(intervals, dtype=float).T - lengths)
    ends = {"ecolor": INK, "elinewidth": 1.1, "capsize": 3}
    drawn = axes.barh(places, lengths, height=0.68, color=BLUE, xerr=whiskers, error_kw=ends)
    axes.set_yticks(places, [shorten(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(xlabel)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    return drawn


def shorten(name: str, most: int = 40) -> str:
    """The name, cut with an ellipsis when it would crowd the axis."""
    return name if len(name) <= most else name[: most - 1] + "…"


def thin(x: Any, y: Any) -> tuple[Any, Any]:
    """At most `MOST_POINTS` of a curve, both ends among them."""
    if len(x) <= MOST_POINTS:
        return x, y
    kept = np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).round().astype(int))
    return np.asarray(x)[kept], np.asarray(y)[kept]
