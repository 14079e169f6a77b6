"""Binned counts against a reference: PSI, grouped Kolmogorov-Smirnov, chi-square, Fisher, and their correction.

`scipy.special` holds the tails; `scipy.stats` has the same tests but costs a service 70 MB.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, gammaln, kolmogorov, ndtr

SMALLEST_SHARE = 1e-4  # as in common.evaluation.stability
SMALLEST_EXPECTED = 5  # Cochran's rule for chi-square cells
MOST_TERMS = 20_000  # of a hypergeometric tail, whose terms fall geometrically

Array = NDArray[np.float64]


def psi(expected: Any, actual: Any) -> float:
    """Population stability index of two arrays of shares, shape (bins,)."""
    expected, actual = np.maximum(expected, SMALLEST_SHARE), np.maximum(actual, SMALLEST_SHARE)
    return float(((actual - expected) * np.log(actual / expected)).sum())


def grouped_ks(reference: Any, window: Any) -> tuple[float, float]:
    """Two-sample KS over shared bins of shape (bins,): the largest gap between the cumulated shares, and its p.

    Only the bins' ends can be compared, so Kolmogorov's tail is too cautious (Pettitt & Stephens 1977,
    Technometrics 19). The tails of the gaps at all ends, added up, bound the same probability and are nearly
    exact where it is small; the smaller bound is the p-value.
    """
    before, now = np.asarray(reference, dtype=float), np.asarray(window, dtype=float)
    m, n = before.sum(), now.sum()
    if not m or not n or len(before) < 2:
        return 0.0, 1.0
    gap = float(np.abs(before.cumsum() / m - now.cumsum() / n)[:-1].max())
    scaled = gap * np.sqrt(m * n / (m + n))
    both = (before + now).cumsum()[:-1] / (m + n)
    spread = np.sqrt(both * (1 - both))
    ends = 2 * ndtr(-scaled / spread[spread > 1e-9])
    return gap, float(min(1.0, kolmogorov(scaled), ends.sum())) if gap > 0 else 1.0


def chi_square(reference: Any, window: Any) -> tuple[float, float]:
    """Pearson's test that two rows of counts, shape (levels,), have one distribution: statistic and p.

    Levels too rare for the test (expected count below 5) are counted together.
    """
    table = np.array([reference, window], dtype=float)
    totals = table.sum(axis=1)
    if not totals.all():
        return 0.0, 1.0
    expected = table.sum(axis=0) / table.sum() * totals.min()
    order = np.argsort(expected)
    rare = int(np.searchsorted(expected[order], SMALLEST_EXPECTED))
    while 0 < rare < len(order) and expected[order[:rare]].sum() < SMALLEST_EXPECTED:
        rare += 1
    cells = np.column_stack([table[:, order[:rare]].sum(axis=1), table[:, order[rare:]]])
    cells = cells[:, cells.sum(axis=0) > 0]
    if cells.shape[1] < 2:
        return 0.0, 1.0
    even = np.outer(totals, cells.sum(axis=0)) / totals.sum()
    statistic = float((np.square(cells - even) / even).sum())
    return statistic, float(chdtrc(cells.shape[1] - 1, statistic))


def fisher(hits: int, n: int, reference_hits: float, m: int) -> float:
    """Fisher's exact test: P(at least `hits` of `n`) when the reference, `reference_hits` of `m`, has the same rate."""
    total = hits + round(reference_hits)
    if not hits or not n:
        return 1.0
    k = np.arange(hits, min(total, n, hits + MOST_TERMS) + 1)
    k = k[total - k <= m]
    if not len(k):
        return 1.0
    chosen = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    rest = gammaln(m + 1) - gammaln(total - k + 1) - gammaln(m - total + k + 1)
    every = gammaln(n + m + 1) - gammaln(total + 1) - gammaln(n + m - total + 1)
    return float(min(1.0, np.exp(chosen + rest - every).sum()))


def benjamini_hochberg(p: Any) -> Array:
    """Adjusted p-values, shape (tests,): those at most q have a false-discovery rate of at most q.

    When nothing changed any discovery is false, so q also bounds the chance of a single alarm
    (Benjamini & Hochberg 1995). Equal to `scipy.stats.false_discovery_control`, tested.
    """
    p = np.asarray(p, dtype=float)
    order = np.argsort(p)[::-1]
    ranked = np.minimum.accumulate(p[order] * len(p) / np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(ranked, 1)
    return adjusted
