"""The two learners of dialogue acts, on hashed features: a tagger of characters, and linear one-against-rest heads."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

BUCKETS = 1 << 18
"""Of the hash that numbers features; what falls together is learnt together."""
NEVER = np.float32(-1e9)


def hashed(features: Sequence[str]) -> np.ndarray:
    """The numbers of named features, int64 (features,)."""
    return np.array([zlib.crc32(name.encode()) % BUCKETS for name in features], dtype=np.int64)


@dataclass(frozen=True)
class Tagger:
    """Names a kind for stretches of characters: B begins one, I goes on, O is outside; best path by Viterbi.

    `weights` (buckets, labels) and `moves` (labels, labels) are those of an averaged structured perceptron (Collins
    2002).
    """

    labels: tuple[str, ...]
    weights: np.ndarray
    moves: np.ndarray

    def spans(self, features: Sequence[np.ndarray]) -> list[tuple[int, int, str]]:
        """Start, end and kind of each stretch in a text of one feature array a character."""
        spans: list[tuple[int, int, str]] = []
        if not len(features):
            return spans
        allowed, first = _grammar(self.labels)
        path = _best([self.weights[ids].sum(0) for ids in features], self.moves + allowed, first)
        for i, label in enumerate(self.labels[y] for y in path):
            if label[0] == "B":
                spans.append((i, i + 1, label[1:]))
            elif label[0] == "I":
                spans[-1] = (spans[-1][0], i + 1, label[1:])
        return spans


def fit_tagger(texts: Sequence[Sequence[np.ndarray]], tags: Sequence[Sequence[str]], epochs: int, seed: int) -> Tagger:
    """A tagger learnt from texts (one feature array a character) and their tags; the same seed, the same tagger."""
    labels = tuple(sorted({label for text in tags for label in text} | {"O"}, reverse=True))
    number = {label: i for i, label in enumerate(labels)}
    weights = np.zeros((BUCKETS, len(labels)), np.float32)
    moves = np.zeros((len(labels), len(labels)), np.float32)
    late, late_moves = np.zeros_like(weights), np.zeros_like(moves)
    allowed, first = _grammar(labels)
    rng, step = np.random.default_rng(seed), 1
    for _ in range(epochs):
        for k in rng.permutation(len(texts)):
            truth = [number[label] for label in tags[k]]
            guess = _best([weights[ids].sum(0) for ids in texts[k]], moves + allowed, first)
            for i, (right, wrong) in enumerate(zip(truth, guess, strict=True)):
                if right != wrong:
                    for table, size in ((weights, 1), (late, step)):
                        table[texts[k][i], right] += size
                        table[texts[k][i], wrong] -= size
                if i and (truth[i - 1], right) != (guess[i - 1], wrong):
                    for table, size in ((moves, 1), (late_moves, step)):
                        table[truth[i - 1], right] += size
                        table[guess[i - 1], wrong] -= size
            step += 1
    return Tagger(labels, weights - late / step, moves - late_moves / step)


def _grammar(labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """What may follow what, and begin a text: I goes on with its own kind only."""
    allowed = np.zeros((len(labels), len(labels)), np.float32)
    for j, label in enumerate(labels):
        if label[0] == "I":
            allowed[[before[1:] != label[1:] or before == "O" for before in labels], j] = NEVER
    return allowed, np.array([NEVER if label[0] == "I" else 0 for label in labels], np.float32)


def _best(scores: Sequence[np.ndarray], moves: np.ndarray, first: np.ndarray) -> list[int]:
    value, back = scores[0] + first, []
    for score in scores[1:]:
        ways = value[:, None] + moves
        back.append(ways.argmax(0))
        value = ways.max(0) + score
    path = [int(value.argmax())]
    for came in reversed(back):
        path.append(int(came[path[-1]]))
    return path[::-1]


@dataclass(frozen=True)
class Heads:
    """A linear score for each name: `weights` (buckets, names), `bias` (names,)."""

    names: tuple[str, ...]
    weights: np.ndarray
    bias: np.ndarray

    def scores(self, ids: np.ndarray) -> np.ndarray:
        """Log-odds of each name, float32 (names,)."""
        return self.weights[ids].sum(0) + self.bias


def fit_heads(rows: Sequence[np.ndarray], found: Sequence[set[str]], alpha: float, seed: int) -> Heads:
    """A logistic regression for every name that occurs in `found`, the set of names of each row."""
    from scipy.sparse import csr_matrix  # training only
    from sklearn.linear_model import SGDClassifier

    names = tuple(sorted(set().union(*found)))
    ends = np.cumsum([0, *(len(ids) for ids in rows)])
    table: Any = csr_matrix(
        (np.ones(ends[-1], np.float32), np.concatenate(rows), ends), shape=(len(rows), BUCKETS), dtype=np.float32
    )
    weights, bias = np.zeros((BUCKETS, len(names)), np.float32), np.zeros(len(names), np.float32)
    for k, name in enumerate(names):
        wanted = np.array([name in some for some in found])
        if wanted.all():
            bias[k] = 10
            continue
        model = SGDClassifier(loss="log_loss", alpha=alpha, max_iter=15, tol=None, random_state=seed)
        model.fit(table, wanted)
        weights[:, k], bias[k] = model.coef_[0], model.intercept_[0]
    return Heads(names, weights, bias)
