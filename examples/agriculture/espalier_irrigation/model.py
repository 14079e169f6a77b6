"""Logistic regression as numbers: no paths, no logging, no files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Model:
    """A weight per input and an intercept, in log-odds."""

    weight: tuple[float, ...]
    intercept: float

    def probability(self, row: Sequence[float]) -> float:
        """Of one row: a matrix product may round a row differently alone and in a batch."""
        terms = (weight * value for weight, value in zip(self.weight, row, strict=True))
        return 1 / (1 + math.exp(-sum(terms, self.intercept)))


def fit(x: np.ndarray, y: np.ndarray, inverse_penalty: float) -> Model:
    """Fit on standardised inputs, told in their own units."""
    from sklearn.linear_model import LogisticRegression

    mean, spread = x.mean(axis=0), x.std(axis=0)
    fitted = LogisticRegression(C=inverse_penalty).fit((x - mean) / spread, y)
    weight = fitted.coef_[0] / spread
    return Model(tuple(weight.tolist()), float(fitted.intercept_[0] - mean @ weight))
