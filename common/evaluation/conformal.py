"""A promise about false alarms: thresholds by conformal prediction (Vovk et al., 2005), of parts with several pictures.

If good parts are exchangeable with the `n` calibration parts, one picture of a new part is above the threshold with a
probability of at most `rate`, whatever the distribution of scores. Pictures of one part are not exchangeable with those
of others, so parts are counted and not pictures, and all pictures of a part together weigh as much as one part
(hierarchical conformal prediction: Lee, Barber & Willett, 2023, arXiv:2306.06342).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from common.errors import UsageError

EXACT = 1e-9
"""Sums of weights are rounded: 0.99 of 100 parts must not become rank 100."""


@dataclass(frozen=True)
class Calibration:
    """Scores (n,) of pictures of good parts that were held back, higher is worse, and the part (n,) int of each."""

    score: np.ndarray
    part: np.ndarray

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Calibration:
        """From what `arrays` gave."""
        return cls(arrays["score"], arrays["part"])

    def arrays(self) -> dict[str, np.ndarray]:
        """To be kept in a bundle."""
        return {"score": self.score, "part": self.part}

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return len(np.unique(self.part))

    @property
    def lowest_rate(self) -> float:
        """The smallest rate that so many parts can promise."""
        return 1 / (self.parts + 1)

    @property
    def weight(self) -> np.ndarray:
        """(n,): what each picture weighs, a part being 1 in all."""
        _, place, count = np.unique(self.part, return_inverse=True, return_counts=True)
        return 1 / count[place]

    def threshold(self, rate: float) -> float:
        """The score above which to raise an alarm so that at most `rate` of good parts do.

        Raises `UsageError` when there are too few parts for the rate.
        """
        if rate < self.lowest_rate - EXACT:
            raise UsageError(
                f"{self.parts} good parts cannot promise this rate of false alarms",
                got=f"{rate:.4g}",
                expected=f"at least {self.lowest_rate:.4g}",
                fix="hold back more good parts or promise less",
            )
        order = np.argsort(self.score, kind="stable")
        reached = np.cumsum(self.weight[order]) >= (self.parts + 1) * (1 - rate) - EXACT
        return float(self.score[order][np.argmax(reached)])

    def p_value(self, score: float) -> float:
        """The smallest rate whose promise lets this score raise an alarm; 1: none does."""
        above = float(self.weight[self.score >= score].sum())
        return (above + 1) / (self.parts + 1)
