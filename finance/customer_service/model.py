"""The classifier of one language or more: n-grams under one linear layer, and one class for what is out of scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from common.text.ngrams import Grams, NGrams

NONE = ""
"""The class of what is out of scope, where there were examples of it."""


@dataclass(frozen=True)
class Classifier:
    """Texts to scores: `weight` float32 (n-grams, classes), `bias` (classes,); `classes` are sorted.

    `sharpness` is the inverse temperature that makes the softmax of the scores a probability (Guo et al., 2017).
    """

    ngrams: NGrams
    weight: np.ndarray
    bias: np.ndarray
    classes: tuple[str, ...]
    sharpness: float = 1.0

    @classmethod
    def fit(cls, texts: Sequence[str], labels: np.ndarray, grams: Grams, c: float, seed: int) -> Classifier:
        """Squared hinge loss, one class against the rest (Fan et al., 2008)."""
        from sklearn.svm import LinearSVC

        ngrams = NGrams.fit(texts, grams)
        found = LinearSVC(C=c, random_state=seed).fit(ngrams(texts), labels)
        weight, bias = found.coef_, found.intercept_
        if len(weight) == 1:  # two classes
            weight, bias = np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
        classes = tuple(str(name) for name in found.classes_)
        return cls(ngrams, np.ascontiguousarray(weight.T, np.float32), bias.astype(np.float32), classes)

    @property
    def intents(self) -> tuple[str, ...]:
        """The classes that are answered."""
        return tuple(name for name in self.classes if name != NONE)

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """float (texts, classes)."""
        return self.ngrams(texts) @ self.weight + self.bias

    def chances(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities (texts, intents) from scores; what is missing to 1 is out of scope."""
        p: np.ndarray = softmax(scores * self.sharpness, axis=1)
        return p[:, len(self.classes) - len(self.intents) :]  # the empty name sorts first

    def state(self) -> dict[str, Any]:
        """All but the arrays, as JSON can hold it."""
        return {"ngrams": self.ngrams.state(), "classes": list(self.classes), "sharpness": self.sharpness}

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights."""
        return {"weight": self.weight, "bias": self.bias}

    @classmethod
    def of(cls, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Classifier:
        """What `state` and `arrays` described."""
        ngrams = NGrams.of(state["ngrams"])
        return cls(ngrams, arrays["weight"], arrays["bias"], tuple(state["classes"]), state["sharpness"])


def sharpness_of(scores: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> float:
    """The inverse temperature of least log loss, from held-out scores (rows, classes) and class positions (rows,).

    One pair of each model.
    """

    def loss(log: float) -> float:
        lost = [log_softmax(s * np.exp(log), axis=1)[np.arange(len(y)), y] for s, y in zip(scores, labels, strict=True)]
        return float(-np.concatenate(lost).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 5), method="bounded").x))
