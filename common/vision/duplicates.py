"""The same part photographed twice: near-duplicate pictures, found by what they show and not by their names."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SIDE = 32
ALIKE = 0.87
"""Correlation of what two thumbnails have of their own: in training pictures of `magnetic-tile`, 85 of 100 pairs above
it show one tile, and 45 of 100 pairs of one tile lie above it."""
ROWS = 256
"""Thumbnails compared with all others at once: 20 MB for 10,000 pictures."""


def thumbnail(picture: np.ndarray) -> np.ndarray:
    """float32 (SIDE * SIDE,), mean 0 and length 1: the fine structure of uint8 (height, width)."""
    small = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    fine = (small - gaussian_filter(small, 3)).ravel()
    fine -= fine.mean()
    return fine / max(float(np.linalg.norm(fine)), 1e-6)


def own_structure(thumbnails: np.ndarray) -> np.ndarray:
    """Thumbnails (n, SIDE * SIDE) without their mean, again of length 1.

    Parts that lie in one place under one camera all share edges and holes: simulated ones correlate by 0.95 and more,
    and by less than 0.5 once what they share is gone.
    """
    own = thumbnails - thumbnails.mean(axis=0)
    return own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-6)


def near_duplicates(left: np.ndarray, right: np.ndarray, alike: float = ALIKE) -> np.ndarray:
    """bool (n,): which of the thumbnails `left` (n, SIDE * SIDE) have one like them among `right` (m, SIDE * SIDE)."""
    if not len(left) or not len(right):
        return np.zeros(len(left), bool)
    return np.concatenate([(rows @ right.T).max(axis=1) > alike for rows in _blocks(left)])


def parts_of(thumbnails: np.ndarray, alike: float = ALIKE) -> np.ndarray:
    """int (n,): a number for every part; thumbnails (n, SIDE * SIDE) that are alike, or joined by ones that are, show
    one."""
    count = len(thumbnails)
    parts = np.arange(count)
    for start, rows in zip(range(0, count, ROWS), _blocks(thumbnails), strict=True):
        # Block by block: where all are alike the pairs of 10,000 pictures would fill the memory.
        one, other = np.nonzero(rows @ thumbnails.T > alike)
        edges = (np.ones(len(one), bool), (parts[one + start], parts[other]))
        parts = connected_components(coo_array(edges, shape=(count, count)), directed=False)[1][parts]
    return np.unique(parts, return_inverse=True)[1]


def _blocks(thumbnails: np.ndarray) -> list[np.ndarray]:
    return [thumbnails[start : start + ROWS] for start in range(0, len(thumbnails), ROWS)]
