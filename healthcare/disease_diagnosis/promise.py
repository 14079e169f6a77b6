"""The promise: a set of findings that holds the true one as often as was said, at a site and in a subgroup.

Split conformal prediction (Vovk et al., 2005) with groups of their own (Mondrian). If a new patient is exchangeable
with the labelled ones of the same site and subgroup, the set misses the true finding with a probability of at most
1 - coverage, however wrong the model is. Where a subgroup is too small, the whole site answers for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from common.evaluation.conformal import Calibration
from common.evaluation.metrics import Array

FEWEST = 20
"""Labelled patients of a subgroup below which the whole site answers: of 20 the second worst sets the
limit, and one such promise of 90 % in twenty covers less than 76 %."""
SLOPE, SHIFT = 0.5, 2.0
"""How far a site's calibration may be from the model's own, as deviations of a normal prior: few labels move it little.
Prevalence differs between centres by 3 in log-odds, slopes by half."""
NEWTON = 30


@dataclass(frozen=True)
class Site:
    """A site's calibration, log-odds' = shift + slope * log-odds for every panel (panels,), and what it can promise.

    `score` (panels, n) is one less the probability of the true finding of patients whose labels the calibration has not
    seen, NaN where a patient is not of that panel; `group` (n,) is their subgroup.
    """

    shift: np.ndarray
    slope: np.ndarray
    score: np.ndarray
    group: np.ndarray

    def log_odds(self, raw: np.ndarray, place: np.ndarray) -> Array:
        """Calibrated log-odds (rows,) of raw ones, by panel."""
        place = np.minimum(place, len(self.shift) - 1)
        return np.asarray(self.shift[place] + self.slope[place] * raw)

    def limit(self, coverage: float, place: int, group: str) -> tuple[float, int, str]:
        """Findings whose probability is at least one less this are in the set; from how many patients of which group.

        With too few patients for the coverage the limit is 1: everything is in the set.
        """
        own = self.score[min(place, len(self.score) - 1)]
        known = ~np.isnan(own)
        members = known & (self.group == group)
        name = group if members.sum() >= FEWEST else ""
        scores = own[members if name else known]
        if not len(scores) or 1 - coverage < 1 / (len(scores) + 1) - 1e-9:
            return 1.0, len(scores), name
        return Calibration(scores, np.arange(len(scores))).threshold(1 - coverage), len(scores), name

    def sets(self, p: np.ndarray, coverage: float, place: np.ndarray, group: np.ndarray) -> np.ndarray:
        """bool (rows, 2): which of the two findings are in each patient's set, of probabilities of disease (rows,)."""
        limits = {key: self.limit(coverage, *key)[0] for key in set(zip(place.tolist(), group.tolist(), strict=True))}
        limit = np.array([limits[key] for key in zip(place.tolist(), group.tolist(), strict=True)])
        return np.stack([p, 1 - p], axis=1) <= limit[:, None] + 1e-12

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """To be kept in a bundle; the subgroups are text and kept apart."""
        return {f"{name}.{key}": getattr(self, key) for key in ("shift", "slope", "score")}

    @classmethod
    def of(cls, name: str, arrays: Mapping[str, np.ndarray], group: list[str]) -> Site:
        """From what `arrays` gave and the subgroups."""
        shift, slope, score = (arrays[f"{name}.{key}"] for key in ("shift", "slope", "score"))
        return cls(shift, slope, score, np.array(group, str))


def recalibrated(log_odds: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Shift and slope of a logistic recalibration (Cox, 1958) under the prior above; labels y 0/1 (n,)."""
    found = np.array([0.0, 1.0])
    x = np.stack([np.ones(len(y)), log_odds], axis=1)
    precision = np.array([SHIFT, SLOPE]) ** -2.0
    for _ in range(NEWTON):
        p = probability(x @ found)
        gradient = x.T @ (p - y) + precision * (found - [0.0, 1.0])
        curvature = (x * (p * (1 - p))[:, None]).T @ x + np.diag(precision)
        found = found - np.linalg.solve(curvature, gradient)
    return float(found[0]), float(found[1])


def site_of(log_odds: np.ndarray, y: np.ndarray, group: np.ndarray) -> Site:
    """A site from a few labelled patients (n,): each one's score comes from a calibration on the others."""
    rows = np.arange(len(y))
    without = [recalibrated(log_odds[rows != i], y[rows != i]) for i in rows]
    p = probability(np.array([shift + slope * z for (shift, slope), z in zip(without, log_odds, strict=True)]))
    shift, slope = recalibrated(log_odds, y)
    return Site(np.array([shift]), np.array([slope]), np.where(y == 1, 1 - p, p)[None], group)


def probability(log_odds: np.ndarray) -> Array:
    """Of log-odds, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * log_odds)))
