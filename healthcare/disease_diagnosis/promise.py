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
NEWTON, SMALL = 50, 1e-10
"""Steps at most, and the step below which the search is over."""


@dataclass(frozen=True)
class Site:
    """A site's calibration and what it can promise.

    Log-odds of each finding against the first one become `shift` (panels, findings - 1) + `slope` (panels,) times
    themselves. `score` (panels, n) is one less the probability of the true finding of patients whose labels the
    calibration has not seen, NaN where a patient is not of that panel; `group` (n,) is their subgroup.
    """

    shift: np.ndarray
    slope: np.ndarray
    score: np.ndarray
    group: np.ndarray

    def chances(self, raw: np.ndarray, place: np.ndarray) -> Array:
        """Calibrated probabilities (rows, findings) of log-odds (rows, findings - 1), by panel."""
        place = np.minimum(place, len(self.shift) - 1)
        return chances(self.shift[place] + self.slope[place, None] * raw)

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
        """bool (rows, findings): which are in each patient's set, of probabilities (rows, findings)."""
        keys = list(zip(place.tolist(), group.tolist(), strict=True))
        limits = {key: self.limit(coverage, *key)[0] for key in set(keys)}
        return 1 - p <= np.array([limits[key] for key in keys])[:, None] + 1e-12

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """To be kept in a bundle; the subgroups are text and kept apart."""
        return {f"{name}.{key}": getattr(self, key) for key in ("shift", "slope", "score")}

    @classmethod
    def of(cls, name: str, arrays: Mapping[str, np.ndarray], group: list[str]) -> Site:
        """From what `arrays` gave and the subgroups."""
        shift, slope, score = (arrays[f"{name}.{key}"] for key in ("shift", "slope", "score"))
        return cls(shift, slope, score, np.array(group, str))


def recalibrated(raw: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Shifts (findings - 1,) and slope of a logistic recalibration (Cox, 1958) under the prior above.

    Of log-odds (n, findings - 1) and labels (n,), from 0.
    """
    outputs = raw.shape[1]
    each = np.broadcast_to(np.eye(outputs), (len(raw), outputs, outputs))
    x = np.concatenate([each, raw[:, :, None]], axis=2)
    start = np.append(np.zeros(outputs), 1.0)
    precision = np.append(np.full(outputs, SHIFT), SLOPE) ** -2.0
    found, seen = start, y[:, None] == np.arange(1, outputs + 1)
    for _ in range(NEWTON):
        p = chances(x @ found)[:, 1:]
        gradient = np.einsum("nko,nk->o", x, p - seen) + precision * (found - start)
        spread = p[:, :, None] * (np.eye(outputs) - p[:, None, :])
        step = np.linalg.solve((x.transpose(0, 2, 1) @ spread @ x).sum(axis=0) + np.diag(precision), gradient)
        found = found - step
        if np.abs(step).max() < SMALL:
            break
    return found[:-1], float(found[-1])


def site_of(raw: np.ndarray, y: np.ndarray, group: np.ndarray) -> Site:
    """A site from a few labelled patients (n,): each one's score comes from a calibration on the others."""
    score, rows = np.empty((1, len(y))), np.arange(len(y))
    for i in rows:
        shift, slope = recalibrated(raw[rows != i], y[rows != i])
        score[0, i] = 1 - chances(shift + slope * raw[i : i + 1])[0, y[i]]
    shift, slope = recalibrated(raw, y)
    return Site(shift[None], np.array([slope]), score, group)


def chances(log_odds: np.ndarray) -> Array:
    """Probabilities (rows, findings) of log-odds (rows, findings - 1) against the first finding, without overflow."""
    whole = np.concatenate([np.zeros((len(log_odds), 1)), log_odds], axis=1)
    weight = np.exp(whole - whole.max(axis=1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))
