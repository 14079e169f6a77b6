"""Logistic regression as arrays, and probabilities from log-odds: scoring needs no scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Logistic:
    """Logistic regression on standardised features, taken as logarithms; a missing one is as the mean."""

    centre: np.ndarray
    spread: np.ndarray
    weight: np.ndarray
    intercept: float

    def predict(self, x: np.ndarray, steps: np.ndarray | None = None) -> np.ndarray:
        """Log-odds float64 (rows,) of features float32 (rows, features); `steps` are not read."""
        return _standardised(x, self.centre, self.spread) @ self.weight + self.intercept

    def contributions(self, x: np.ndarray, steps: np.ndarray | None = None) -> np.ndarray:
        """float64 (rows, features): what each adds to the log-odds of the average transaction."""
        return _standardised(x, self.centre, self.spread) * self.weight

    def arrays(self) -> dict[str, np.ndarray]:
        """To be written down; `of_arrays` takes it back."""
        return {
            "centre": self.centre,
            "spread": self.spread,
            "weight": self.weight,
            "intercept": np.array([self.intercept]),
        }

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """What `arrays` gave."""
        return cls(arrays["centre"], arrays["spread"], arrays["weight"], float(arrays["intercept"][0]))

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, seed: int) -> Self:
        """Fit to features float32 (rows, features; NaN is missing) and y in {0, 1}."""
        from sklearn.linear_model import LogisticRegression

        logs = _logs(x)
        known = np.isfinite(logs)
        many = np.maximum(known.sum(axis=0), 1)
        centre = np.where(known, logs, 0).sum(axis=0) / many
        spread = np.sqrt(np.where(known, (logs - centre) ** 2, 0).sum(axis=0) / many) + 1e-6
        model = LogisticRegression(C=0.1, max_iter=500, random_state=seed).fit(_standardised(x, centre, spread), y)
        return cls(centre, spread, model.coef_[0], float(model.intercept_[0]))


@dataclass(frozen=True)
class Calibration:
    """Probability from log-odds (Platt scaling)."""

    intercept: float
    slope: float

    def probability(self, log_odds: np.ndarray) -> np.ndarray:
        """0 to 1."""
        return 1 / (1 + np.exp(-(self.intercept + self.slope * log_odds)))


def _logs(x: np.ndarray) -> np.ndarray:
    """Counts, amounts and times have long tails."""
    return np.sign(x) * np.log1p(np.abs(x.astype(np.float64)))


def _standardised(x: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
    return np.nan_to_num((_logs(x) - centre) / spread).clip(-10, 10)
