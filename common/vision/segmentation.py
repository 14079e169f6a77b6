"""How well a map finds the pixels of defects: AUROC, best F1 and AUPRO, with intervals over pictures or parts.

Scores are counted in bins, so that fifty million pixels take no memory and resampling pictures costs nothing.
AUPRO is the mean overlap with each connected defect against the false-positive rate, up to a rate of 0.3, divided by
0.3 (Bergmann et al., 2020, arXiv:1911.02357).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import label

from common.evaluation.metrics import interval
from common.evaluation.report import Metric

MOST_FALSE = 0.3
NAMES = ("pixel_auroc", "pixel_f1_max", "aupro")


@dataclass
class PixelCounts:
    """Pixels of every picture by score bin; `edges` (bins - 1,) ascending, taken from scores of good parts."""

    edges: np.ndarray
    good: list[np.ndarray] = field(default_factory=list)
    bad: list[np.ndarray] = field(default_factory=list)
    overlap: list[np.ndarray] = field(default_factory=list)

    def add(self, scores: np.ndarray, mask: np.ndarray) -> None:
        """Count one picture: scores float and mask bool, both (height, width)."""
        bins = len(self.edges) + 1
        place = np.searchsorted(self.edges, scores, side="right")
        self.good.append(np.bincount(place[~mask], minlength=bins).astype(float))
        self.bad.append(np.bincount(place[mask], minlength=bins).astype(float))
        regions, count = label(mask, structure=np.ones((3, 3)))
        found = [np.bincount(place[regions == region], minlength=bins) for region in range(1, count + 1)]
        # Share of each region at or above every bin, summed over the regions of the picture; its number comes last.
        shares = sum((_from_above(hits) / hits.sum() for hits in found), np.zeros(bins))
        self.overlap.append(np.append(shares, count))

    def metrics(self, parts: np.ndarray, repeats: int = 200, seed: int = 0) -> dict[str, Metric]:
        """`NAMES` with 95 % bootstrap intervals over `parts`, int (pictures,); n is the number of pictures."""
        good, bad, overlap = (np.array(values) for values in (self.good, self.bad, self.overlap))
        rng, n = np.random.default_rng(seed), len(good)
        # Pictures with a defect and without are drawn apart, so that both are always there; those of a part together.
        strata = [np.flatnonzero(bad.sum(1) > 0), np.flatnonzero(bad.sum(1) == 0)]
        members = [[rows[parts[rows] == part] for part in np.unique(parts[rows])] for rows in strata]
        draws = np.empty((repeats, len(NAMES)))
        for repeat in range(repeats):
            drawn = np.concatenate([some[i] for some in members for i in rng.integers(0, len(some), len(some))])
            draws[repeat] = _measured(good[drawn].sum(0), bad[drawn].sum(0), overlap[drawn].sum(0))
        values = _measured(good.sum(0), bad.sum(0), overlap.sum(0))
        found = {}
        for column, name in enumerate(NAMES):
            low, high = interval(values[column], draws[:, column])
            found[name] = Metric(value=values[column], low=low, high=high, n=n)
        return found


def _from_above(counts: np.ndarray) -> np.ndarray:
    return np.cumsum(counts[::-1])[::-1]


def _measured(good: np.ndarray, bad: np.ndarray, overlap: np.ndarray) -> tuple[float, float, float]:
    below = np.cumsum(good) - good / 2
    auroc = float(bad @ below / (bad.sum() * good.sum()))
    hits, alarms = _from_above(bad), _from_above(good)
    f1_max = float((2 * hits / (hits + alarms + bad.sum())).max())
    false = np.append(alarms / good.sum(), 0.0)[::-1]
    share = np.append(overlap[:-1] / overlap[-1], 0.0)[::-1]
    limit = float(np.interp(MOST_FALSE, false, share))
    kept = false < MOST_FALSE
    aupro = np.trapezoid(np.append(share[kept], limit), np.append(false[kept], MOST_FALSE)) / MOST_FALSE
    return auroc, f1_max, float(aupro)
