"""The report's pictures: what was found, what was missed, with heat maps and outlines of the true defects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from common.evaluation.plot_style import entitle
from manufacturing.visual_inspection.data import Pictures
from manufacturing.visual_inspection.serve import PALETTE, paint

PLACES = ("least suspicious", "middle", "most suspicious")
CELL = 1.05
"""Inches of a picture's side."""


def gallery(test: Pictures, score: np.ndarray, heat: Sequence[np.ndarray], threshold: float) -> Figure:
    """A row for every kind; its pictures with the lowest, the middle and the highest score, each beside its heat map.

    `heat[i]` is the map (rows, columns) of picture i. A green outline is the mask; a score in bold raises an alarm.
    """
    kinds = sorted(np.unique(test.kind), key=lambda kind: (kind != "good", kind))
    figure = Figure(figsize=(6.9, 0.5 + (CELL + 0.15) * len(kinds)), layout="constrained")
    axes = figure.subplots(len(kinds), 2 * len(PLACES), squeeze=False)
    for row, kind in enumerate(kinds):
        order = np.flatnonzero(test.kind == kind)[np.argsort(score[test.kind == kind], kind="stable")]
        for place, (name, i) in enumerate(zip(PLACES, order[[0, len(order) // 2, -1]], strict=True)):
            left, right = axes[row, 2 * place], axes[row, 2 * place + 1]
            left.imshow(test.picture[i], cmap="gray", vmin=0, vmax=255)
            if (mask := test.mask[i]) is not None and mask.any():
                left.contour(mask, levels=[0.5], colors=["#2ca02c"], linewidths=0.8)
            right.imshow(_over(test.picture[i], heat[i], threshold))
            weight = "bold" if score[i] > threshold else "normal"
            right.set_xlabel(f"{score[i]:.1f}", fontsize=7, fontweight=weight, labelpad=1)
            if row == 0:
                left.set_title(name, fontsize=8, loc="left")
        axes[row, 0].set_ylabel(kind, fontsize=8)
    for one in axes.flat:
        one.set_xticks([])
        one.set_yticks([])
        one.grid(visible=False)
        for spine in one.spines.values():
            spine.set_visible(False)
    title = f"Pictures and heat maps, kind by kind; an alarm above {threshold:.2f}"
    entitle(figure, title)
    figure.set_label(f"{title}. Kinds: {', '.join(kinds)}.")
    return figure


def _over(picture: np.ndarray, heat: np.ndarray, threshold: float) -> np.ndarray:
    """The heat map's colours over the picture, uint8 (height, width, 3)."""
    height, width = picture.shape
    colours = Image.fromarray(paint(heat, picture.shape, threshold)).resize((width, height))
    hot = np.asarray(colours, float)
    share = hot.sum(2, keepdims=True) / PALETTE[-1].sum()
    return (picture[..., None] * (1 - share) + hot * share).round().astype(np.uint8)
