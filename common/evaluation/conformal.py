"""A promise about false alarms: thresholds by split conformal prediction (Vovk et al., 2005).

If good parts are exchangeable with the `n` calibration parts, a new one is above the threshold with a probability of
at most `rate`, whatever the distribution of scores.
"""

from __future__ import annotations

import math

import numpy as np

from common.errors import UsageError


def lowest_rate(n: int) -> float:
    """The smallest rate that `n` calibration scores can promise."""
    return 1 / (n + 1)


def threshold_for(calibration: np.ndarray, rate: float) -> float:
    """The score above which to raise an alarm so that at most `rate` of good parts do; `calibration` is (n,).

    Raises `UsageError` when there are too few calibration scores for the rate.
    """
    ordered = np.sort(np.asarray(calibration, dtype=float))
    rank = math.ceil((len(ordered) + 1) * (1 - rate) - 1e-9)  # 101 * 0.99 must not become rank 100
    if rank > len(ordered):
        raise UsageError(
            f"{len(ordered)} good parts cannot promise this rate of false alarms",
            got=f"{rate:.4g}",
            expected=f"at least {lowest_rate(len(ordered)):.4g}",
            fix="hold back more good parts or promise less",
        )
    return float(ordered[max(rank, 1) - 1])
