"""The classifier of one language or more: n-grams, and sentence vectors under a kernel; one class for out of scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import Field
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from common.config import Strict
from common.text.ngrams import Grams, NGrams
from finance.customer_service.head import FILES as HEAD_FILES
from finance.customer_service.head import Head
from finance.customer_service.space import FILES as SPACE_FILES
from finance.customer_service.space import Space

NONE = ""
"""The class of what is out of scope, where there were examples of it."""
OPINION = 16
"""Sharpness at which the kernel's scores are log-probabilities; found by holding out some of BANKING77."""
BLOCK = 2_000
"""Rows of a kernel made at once."""


class Kernel(Strict):
    """Of regularised least squares (Rifkin et al., 2003) on sentence vectors and n-grams together."""

    gamma: float = Field(6, gt=0, description="the Gaussian kernel is exp(-gamma / 2 * squared distance)")
    ngrams: float = Field(0.3, ge=0, description="weight of the n-grams' linear kernel beside it")
    ridge: float = Field(0.1, gt=0)


@dataclass(frozen=True)
class Support:
    """The Gaussian part: coordinates float32 (rows, size) of training texts, and what each says of the classes."""

    space: Space
    rows: np.ndarray
    coefficients: np.ndarray
    gamma: float

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Scores (texts, classes)."""
        return gaussian(self.space(texts), self.rows, self.gamma) @ self.coefficients


@dataclass(frozen=True)
class Classifier:
    """Texts to scores: `weight` float32 (n-grams, classes), `bias` (classes,), `support` if there is an encoder, `head`
    if it was tuned too: its log-probabilities count as the kernel's scores times `OPINION`.

    `classes` are sorted. `sharpness` is the inverse temperature that makes the softmax of the scores a probability (Guo
    et al., 2017).
    """

    ngrams: NGrams
    weight: np.ndarray
    bias: np.ndarray
    classes: tuple[str, ...]
    support: Support | None = None
    head: Head | None = None
    sharpness: float = 1.0

    @classmethod
    def linear(cls, texts: Sequence[str], labels: np.ndarray, grams: Grams, c: float, seed: int) -> Classifier:
        """N-grams alone: squared hinge loss, one class against the rest (Fan et al., 2008)."""
        from sklearn.svm import LinearSVC

        ngrams = NGrams.fit(texts, grams)
        found = LinearSVC(C=c, random_state=seed).fit(ngrams(texts), labels)
        weight, bias = found.coef_, found.intercept_
        if len(weight) == 1:  # two classes
            weight, bias = np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
        classes = tuple(str(name) for name in found.classes_)
        return cls(ngrams, np.ascontiguousarray(weight.T, np.float32), bias.astype(np.float32), classes)

    @classmethod
    def kernel(
        cls,
        texts: Sequence[str],
        labels: np.ndarray,
        grams: Grams,
        settings: Kernel,
        space: Space,
        head: Head | None = None,
    ) -> Classifier:
        """N-grams and sentence vectors: least squares on both kernels' sum, in closed form; `head` as it is."""
        return replace(fit_kernel(texts, labels, grams, settings, space)[0], head=head)

    @property
    def intents(self) -> tuple[str, ...]:
        """The classes that are answered."""
        return tuple(name for name in self.classes if name != NONE)

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """float (texts, classes)."""
        found: np.ndarray = self.ngrams(texts) @ self.weight + self.bias
        if self.support:
            found = found + self.support(texts)
        return found + self.head(texts) / OPINION if self.head else found

    def chances(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities (texts, intents) from scores; what is missing to 1 is out of scope."""
        p: np.ndarray = softmax(scores * self.sharpness, axis=1)
        return p[:, len(self.classes) - len(self.intents) :]  # the empty name sorts first

    def state(self) -> dict[str, Any]:
        """All but the arrays, as JSON can hold it."""
        gamma = self.support.gamma if self.support else None
        known = {"ngrams": self.ngrams.state(), "classes": list(self.classes), "sharpness": self.sharpness}
        return known | {"gamma": gamma}

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights, and the space's where there is one."""
        found = {"weight": self.weight, "bias": self.bias}
        if self.support:
            found |= {"rows": self.support.rows, "coefficients": self.support.coefficients}
            found |= self.support.space.arrays()
        return found | (self.head.arrays() if self.head else {})

    def files(self) -> dict[str, bytes]:
        """The encoders."""
        return {**(self.support.space.files if self.support else {}), **(self.head.files if self.head else {})}

    @classmethod
    def of(cls, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray], files: Mapping[str, bytes]) -> Classifier:
        """What `state`, `arrays` and `files` described."""
        support = None
        head = Head.of(files, arrays) if HEAD_FILES[0] in files else None
        if SPACE_FILES[0] in files:
            space = Space.of(files, arrays)
            support = Support(space, arrays["rows"], arrays["coefficients"], state["gamma"])
        ngrams, classes = NGrams.of(state["ngrams"]), tuple(state["classes"])
        return cls(ngrams, arrays["weight"], arrays["bias"], classes, support, head, state["sharpness"])


@dataclass(frozen=True)
class LeastSquares:
    """A kernel matrix's Cholesky factor, its `target` (rows, classes), and the coefficients that solve it."""

    factor: tuple[np.ndarray, bool]
    target: np.ndarray
    solved: np.ndarray

    def without(self, groups: Sequence[np.ndarray]) -> np.ndarray:
        """What rows would be given, one after the other (rows, classes), had their whole group not been learnt from.

        Exact, without learning again (Rifkin & Lippert, 2007). `groups` are positions int (n,) each.
        """
        from scipy.linalg import cho_solve

        places = np.concatenate(groups)
        unit = np.zeros((len(self.target), len(places)), np.float32)
        unit[places, np.arange(len(places))] = 1
        inverse = cho_solve(self.factor, unit, overwrite_b=True, check_finite=False)[places].astype(np.float64)
        found, start = [], 0
        for group in groups:
            own = slice(start, start + len(group))
            found.append(self.target[group] - np.linalg.solve(inverse[own, own], self.solved[group]))
            start += len(group)
        return np.concatenate(found) + 1 / self.target.shape[1]


def fit_kernel(
    texts: Sequence[str], labels: np.ndarray, grams: Grams, settings: Kernel, space: Space
) -> tuple[Classifier, LeastSquares]:
    """The classifier of `Classifier.kernel`, and how it was solved."""
    from scipy.linalg import cho_factor, cho_solve

    ngrams, rows = NGrams.fit(texts, grams), space(texts)
    counted = ngrams(texts)
    matrix = gaussian(rows, rows, settings.gamma)
    for start in range(0, len(texts), BLOCK):
        some = slice(start, start + BLOCK)
        matrix[some] += settings.ngrams * (counted[some] @ counted.T).toarray()
    matrix[np.diag_indices(len(matrix))] += settings.ridge
    classes, place = np.unique(labels, return_inverse=True)
    target = (np.eye(len(classes), dtype=np.float32)[place] - 1 / len(classes)).astype(np.float32)
    factor = cho_factor(matrix, overwrite_a=True, check_finite=False)
    solved = cho_solve(factor, target, check_finite=False).astype(np.float32)
    weight = np.ascontiguousarray(settings.ngrams * (counted.T @ solved), np.float32)
    bias, names = np.full(len(classes), 1 / len(classes), np.float32), tuple(str(name) for name in classes)
    found = Classifier(ngrams, weight, bias, names, Support(space, rows, solved, settings.gamma))
    return found, LeastSquares(factor, target, solved)


def gaussian(left: np.ndarray, right: np.ndarray, gamma: float) -> np.ndarray:
    """The kernel float32 (left rows, right rows)."""
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None, :]
    distance = np.maximum(squares - 2 * left @ right.T, 0)
    return np.exp(np.float32(-gamma / 2) * distance)


def sharpness_of(scores: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> float:
    """The inverse temperature of least log loss, from held-out scores (rows, classes) and class positions (rows,).

    One pair of each model.
    """

    def loss(log: float) -> float:
        lost = [log_softmax(s * np.exp(log), axis=1)[np.arange(len(y)), y] for s, y in zip(scores, labels, strict=True)]
        return float(-np.concatenate(lost).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 5), method="bounded").x))
