"""The figures of a binary score: each function returns a matplotlib `Figure`, its label being the alt text.

Figures are built without pyplot, so no display is needed and none stays open; titles state the finding.
`y` is 0/1 of shape (n,), `p` the score of shape (n,), `event` what y = 1 is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from common.evaluation.fairness import FOUR_FIFTHS, FairnessReport
from common.evaluation.metrics import ap, auc, ece, equal_frequency_bins, ks, wilson
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
    thin,
)
from common.evaluation.stability import SHIFTED, STABLE


@rc_context(STYLE)
def roc_pr(y: Any, p: Any, event: str = "event") -> Figure:
    """ROC and precision-recall curves side by side."""
    labels, scores = np.asarray(y), np.asarray(p)
    base, area, precision_area = labels.mean(), auc(labels, scores), ap(labels, scores)
    figure, (left, right) = page_figure(3.3, 2)
    false, true, _ = roc_curve(labels, scores)
    left.plot(*thin(false, true), color=BLUE)
    left.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2)
    left.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC: AUC {area:.3f}, chance 0.500")
    precision, recall, _ = precision_recall_curve(labels, scores)
    right.plot(*thin(recall[:-1], precision[:-1]), color=BLUE)  # the last point is (0, 1) by convention, not data
    right.axhline(base, color=GREY, linestyle=":", linewidth=1.2)
    right.set(xlabel="recall", ylabel="precision", title=f"PR: AP {precision_area:.3f}, chance {base:.3f}")
    for axes in (left, right):
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        axes.set_box_aspect(1)
    figure.set_label(
        f"ROC curve with AUC {area:.3f} and precision-recall curve with average precision {precision_area:.3f} "
        f"for {event}; the base rate is {base:.3f}."
    )
    return figure


@rc_context(STYLE)
def calibration(y: Any, p: Any, bins: int = 10, event: str = "event") -> Figure:
    """Reliability in equal-frequency bins with 95 % Wilson intervals, and how many rows each score has."""
    labels, scores = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    index = equal_frequency_bins(scores, bins)
    counts = np.bincount(index, minlength=bins)
    used = counts > 0
    counts = counts[used]
    mean = np.bincount(index, weights=scores, minlength=bins)[used] / counts
    hits = np.bincount(index, weights=labels, minlength=bins)[used]
    low, high = wilson(hits, counts)
    rate, error = hits / counts, ece(labels, scores, bins=bins)
    figure, (top, bottom) = page_figure(4.6, (3, 1))
    limit = min(1.0, 1.03 * max(high.max(), scores.max()))
    top.plot([0, limit], [0, limit], color=GREY, linestyle=":", linewidth=1.2, label="perfect")
    whiskers = [np.maximum(rate - low, 0), np.maximum(high - rate, 0)]
    top.errorbar(mean, rate, yerr=whiskers, color=BLUE, marker="o", markersize=5, capsize=3, label="observed, 95 %")
    top.set(xlim=(0, limit), ylim=(0, limit), ylabel=f"observed rate of {event}")
    entitle(figure, f"Predicted and observed rates differ by {100 * error:.1f} points on average (ECE {error:.3f})")
    top.legend(loc="upper left")
    bottom.hist(scores, bins=np.linspace(0, limit, 41).tolist(), color=SKY)
    bottom.set(xlim=(0, limit), xlabel=f"predicted probability of {event}", ylabel="rows")
    figure.set_label(
        f"Reliability diagram in {bins} equal-frequency bins: predicted probability of {event} against the observed "
        f"rate, expected calibration error {error:.3f}, with the number of rows per score below."
    )
    return figure


@rc_context(STYLE)
def ks_curve(y: Any, p: Any, event: str = "event") -> Figure:
    """Cumulative score distributions of both classes and their largest gap."""
    labels, scores = np.asarray(y), np.asarray(p, dtype=float)
    grid = np.unique(scores)
    shares = [
        np.searchsorted(np.sort(scores[labels == kind]), grid, side="right") / (labels == kind).sum() for kind in (0, 1)
    ]
    widest = int(np.abs(shares[0] - shares[1]).argmax())
    at, gap = grid[widest], ks(labels, scores)
    figure, (axes,) = page_figure(3.6)
    axes.plot(*thin(grid, shares[0]), color=BLUE, label=f"no {event}")
    axes.plot(*thin(grid, shares[1]), color=ORANGE, linestyle="--", label=event)
    axes.plot([at, at], [shares[1][widest], shares[0][widest]], color=INK, marker="_", label=f"KS {gap:.3f}")
    axes.set(xlabel="score", ylabel="share of rows at or below")
    entitle(figure, f"The classes are furthest apart at {at:.3f} (KS {gap:.3f})")
    axes.legend(loc="lower right")
    figure.set_label(
        f"Cumulative score distributions with and without {event}; the largest gap is {gap:.3f} at score {at:.3f}."
    )
    return figure


@rc_context(STYLE)
def gains(y: Any, p: Any, event: str = "event") -> Figure:
    """Cumulative gains, and the lift of each tenth from the highest scores down."""
    labels, scores = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    tenth = 9 - equal_frequency_bins(scores, 10)
    counts = np.bincount(tenth, minlength=10)
    hits = np.bincount(tenth, weights=labels, minlength=10)
    contacted = np.append(0, counts.cumsum()) / counts.sum()
    found = np.append(0, hits.cumsum()) / hits.sum()
    top = float(np.interp(0.2, contacted, found))
    lift = hits / np.maximum(counts, 1) / labels.mean()
    figure, (left, right) = page_figure(3.5, 2)
    left.plot(contacted, found, color=BLUE, marker="o", markersize=4, label="score")
    left.plot([0, labels.mean(), 1], [0, 1, 1], color=GREEN, linestyle="--", linewidth=1.2, label="perfect")
    left.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2, label="random")
    left.set(xlabel="share of rows, highest scores first", ylabel=f"share of {event} found")
    left.legend(loc="lower right")
    right.bar(np.arange(1, 11), lift, color=[BLUE if value >= 1 else SKY for value in lift], width=0.75)
    right.axhline(1, color=GREY, linestyle=":", linewidth=1.2)
    right.set(xlabel="tenth, highest scores first", ylabel="rate / overall rate", xticks=range(1, 11))
    right.grid(visible=False, axis="x")
    finding = f"The top 20 % by score hold {100 * top:.0f} % of {event} cases; lift of the top tenth {lift[0]:.1f}"
    entitle(figure, finding)
    figure.set_label(f"Cumulative gains and lift per tenth. {finding}.")
    return figure


@rc_context(STYLE)
def score_distribution(
    y: Any, p: Any, event: str = "event", cutoff: float | None = None, xlabel: str = "score"
) -> Figure:
    """Histograms of the score by class, each of area one, with the cut-off when there is one."""
    labels, scores = np.asarray(y), np.asarray(p, dtype=float)
    edges = np.linspace(scores.min(), scores.max() + 1e-9, 41).tolist()
    figure, (axes,) = page_figure(3.4)
    for kind, colour, name in ((0, BLUE, f"no {event}"), (1, ORANGE, event)):
        axes.hist(scores[labels == kind], bins=edges, density=True, color=colour, alpha=0.25)
        axes.hist(
            scores[labels == kind], bins=edges, density=True, color=colour, histtype="step", linewidth=1.6, label=name
        )
    title = f"Scores with and without {event}"
    if cutoff is not None:
        caught = (scores[labels == 1] >= cutoff).mean()
        alarmed = (scores[labels == 0] >= cutoff).mean()
        title = f"At or above {cutoff:.3g}: {100 * caught:.0f} % of {event} cases, {100 * alarmed:.0f} % of the others"
        axes.axvline(cutoff, color=INK, linestyle="--", linewidth=1.2, label=f"cut-off {cutoff:.3g}")
    axes.set(xlabel=xlabel, ylabel="density", yticks=[])
    entitle(figure, title)
    axes.grid(visible=False, axis="y")
    axes.legend(loc="upper right")
    figure.set_label(f"Distribution of the score by class. {title}.")
    return figure


@rc_context(STYLE)
def bars(
    names: Sequence[str],
    values: Sequence[float],
    title: str,
    xlabel: str,
    intervals: Sequence[tuple[float, float]] | None = None,
    reference: float | None = None,
) -> Figure:
    """Horizontal bars in the given order from the top, with intervals and a reference line when given."""
    figure, (axes,) = page_figure(1.1 + 0.3 * len(names))
    draw_bars(axes, names, values, intervals, xlabel)
    if reference is not None:
        axes.axvline(reference, color=ORANGE, linestyle="--", linewidth=1.2)
    entitle(figure, title)
    figure.set_label(
        f"{title}: " + ", ".join(f"{name} {value:.3g}" for name, value in zip(names, values, strict=True)) + "."
    )
    return figure


@rc_context(STYLE)
def group_bars(report: FairnessReport, attribute: str) -> Figure:
    """Selection rate per group with 95 % intervals against the four-fifths line; small groups are hatched."""
    rows = report.groups
    rates = [row.selection_rate.value for row in rows]
    ends = [(row.selection_rate.low, row.selection_rate.high) for row in rows]
    names = [f"{row.group} (n={row.n:,}{', small' if row.small else ''})" for row in rows]
    compared = [row.selection_rate.value for row in rows if not row.small]
    ratio = report.summary.demographic_parity_ratio
    figure, (axes,) = page_figure(1.5 + 0.32 * len(rows))
    drawn = draw_bars(axes, names, rates, ends, "share with the favourable decision")
    for bar, row in zip(drawn, rows, strict=True):
        if row.small:
            bar.set(facecolor="white", edgecolor=GREY, hatch="///")
    name = attribute.capitalize()
    if compared:
        line = FOUR_FIFTHS * max(compared)
        axes.axvline(line, color=ORANGE, linestyle="--", linewidth=1.2, label=f"four fifths of the best: {line:.2f}")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0, handlelength=2.5)
    title = f"{name}: too few people to compare groups"
    if ratio is not None:
        passed = "passes" if report.summary.four_fifths else "fails"
        if ratio.low < FOUR_FIFTHS <= ratio.high:
            passed += ", within its interval,"
        found = f"ratio {ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
        title = f"{name} {passed} the four-fifths rule: {found}"
    entitle(figure, title)
    axes.set_xlim(0, min(1.02, 1.05 * max(high for _, high in ends)))
    figure.set_label(
        f"{title}. " + ", ".join(f"{group}: {rate:.3f}" for group, rate in zip(names, rates, strict=True)) + "."
    )
    return figure


@rc_context(STYLE)
def stability_lines(table: pd.DataFrame, most: int = 6) -> Figure:
    """PSI per period of the `most` fields that move furthest; `table` is from `stability_table(…, by=…)`."""
    wide = table.pivot(index="period", columns="field", values="psi")
    worst = wide.max().sort_values(ascending=False)
    shifted = int((worst > SHIFTED).sum())
    figure, (axes,) = page_figure(3.6)
    styles = ["-", "--", "-.", ":", "-", "--"]
    for rank, field in enumerate(worst.index[:most]):
        colour = (ORANGE, BLUE, GREEN, PINK, SKY, YELLOW)[rank % 6]
        axes.plot(
            range(len(wide)),
            wide[field],
            color=colour,
            linestyle=styles[rank % 6],
            marker="o",
            markersize=3.5,
            label=shorten(field),
        )
    for level, name in ((STABLE, "stable below"), (SHIFTED, "shifted above")):
        axes.axhline(level, color=GREY, linestyle=":", linewidth=1.2)
        axes.annotate(
            f"{name} {level}",
            (1, level),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=8,
            color=GREY,
        )
    step = -(-len(wide) // 8)  # at most eight labels fit
    axes.set_xticks(range(0, len(wide), step), [str(period) for period in wide.index[::step]])
    found = f"{shifted} of {len(worst)} fields shifted" if shifted else f"None of {len(worst)} fields shifted"
    title = f"{found}; {worst.index[0]} moved most (PSI {worst.iloc[0]:.2f})"
    axes.set(ylim=(0, max(0.3, 1.1 * float(worst.iloc[0]))), ylabel="PSI against the reference")
    entitle(figure, title)
    axes.legend(loc="upper left", ncols=2)
    figure.set_label(f"Population stability per period. {title}.")
    return figure
