"""Vectors of forms by the units around them, from texts without labels: what embeddings begin with.

Positive pointwise mutual information, and its largest singular values (Levy, Goldberg & Dagan, 2015,
doi:10.1162/tacl_a_00134); each place around a form has its own counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

REACH = 3
"""Units on each side that count as surroundings."""
SMOOTH = 0.75
"""Power of the surroundings' counts: rare ones say less (Levy et al.)."""


def context_vectors(rows: Sequence[tuple[np.ndarray, np.ndarray]], count: int, width: int) -> np.ndarray:
    """float32 (count, width): of every form's number a vector of standard deviation 1 over all; number 0 has zeros.

    `rows` are, of every text, the forms' and the units' numbers int64 (units,). Forms that are nowhere have zeros.
    """
    units = 1 + max((int(own.max()) for _, own in rows if len(own)), default=0)
    places = [place for place in range(-REACH, REACH + 1) if place]
    forms, around = [], []
    for own, beside in rows:
        for at, place in enumerate(places):
            here = np.arange(max(-place, 0), len(own) - max(place, 0))
            forms.append(own[here])
            around.append(beside[here + place] + at * units)
    pairs = np.concatenate([np.empty(0, np.int64), *forms]), np.concatenate([np.empty(0, np.int64), *around])
    counts = csr_matrix((np.ones(len(pairs[0])), pairs), shape=(count, units * len(places)))
    found = np.zeros((count, width), np.float32)
    rank = min(width, min(counts.shape) - 1)
    if rank < 1 or not counts.nnz:
        return found
    left, values, _ = svds(_ppmi(counts), rank, random_state=np.random.default_rng(0))
    found[:, :rank] = left * np.sqrt(np.maximum(values, 0))
    found[0] = 0
    return found / max(float(found[1:].std()), 1e-6)


def _ppmi(counts: csr_matrix) -> csr_matrix:
    total = counts.sum()
    form = np.asarray(counts.sum(1)).ravel()
    around = np.asarray(counts.sum(0)).ravel() ** SMOOTH
    cells = counts.tocoo()
    rows, columns, seen = cells.row, cells.col, cells.data / total
    expected = form[rows] / total * around[columns] / around.sum()
    return csr_matrix((np.maximum(np.log(seen / expected), 0), (rows, columns)), shape=counts.shape)
