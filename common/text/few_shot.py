"""A few labelled texts and many that nobody labelled: what the classes of these may be, from the vectors of all.

A first guess is smoothed along a graph of nearest neighbours ("learning with local and global consistency", Zhou et
al., 2004), where texts that say the same agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from common.config import Strict
from common.errors import UsageError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

BLOCK = 1_000
"""Rows whose neighbours are looked for at once."""


class Spreading(Strict):
    """How labels spread; the defaults are for ten texts a class among thousands."""

    neighbours: int = Field(15, ge=1)
    closeness: float = Field(20, gt=0, description="a neighbour weighs exp(closeness (cosine - 1))")
    share: float = Field(0.75, ge=0, lt=1, description="of a belief that comes from the neighbours, in every round")
    trust: float = Field(3, gt=0, description="weight of a label beside a guess")
    rounds: int = Field(25, ge=1)


def spread(vectors: np.ndarray, labels: np.ndarray, guess: np.ndarray, settings: Spreading | None = None) -> np.ndarray:
    """Chances float (texts, classes) of vectors (texts, width) of length 1.

    `labels` int (texts,) are classes from 0, and -1 where nobody knows: for these rows `guess` (unknown, classes) gives
    chances to begin with. Rows of labelled texts keep their label. Raises `UsageError` when a class has none.
    """
    settings = settings or Spreading()
    known = labels >= 0
    classes = int(labels.max(initial=-1)) + 1
    if missing := sorted(set(range(max(classes, 1))) - set(labels[known].tolist())):
        raise UsageError("a class has no labelled text", got=f"none of class {missing[0]}", expected="one at least")
    target = np.eye(classes)[labels[known]]
    first = np.empty((len(vectors), classes))
    first[known] = settings.trust * target
    first[~known] = guess
    graph, belief = _graph(vectors, settings), first
    for _ in range(settings.rounds):
        belief = settings.share * (graph @ belief) + (1 - settings.share) * first
    belief = belief / belief.sum(axis=1, keepdims=True)
    belief[known] = target
    return belief


def _graph(vectors: np.ndarray, settings: Spreading) -> csr_matrix:
    """Symmetric weights of neighbours (texts, texts), sparse, normalised so that spreading converges."""
    from scipy.sparse import csr_matrix, diags

    count = min(settings.neighbours, len(vectors) - 1)
    columns, weights = [], []
    for start in range(0, len(vectors), BLOCK):
        close = vectors[start : start + BLOCK] @ vectors.T
        close[np.arange(len(close)), np.arange(start, start + len(close))] = -np.inf
        nearest = np.argpartition(-close, count - 1, axis=1)[:, :count]
        columns.append(nearest.ravel())
        weights.append(np.exp(settings.closeness * (np.take_along_axis(close, nearest, axis=1).ravel() - 1)))
    rows = np.repeat(np.arange(len(vectors)), count)
    one_way = csr_matrix((np.concatenate(weights), (rows, np.concatenate(columns))), (len(vectors), len(vectors)))
    graph = one_way + one_way.T
    scale = diags(1 / np.sqrt(np.asarray(graph.sum(axis=1)).ravel()))
    return scale @ graph @ scale
