"""The same part photographed twice: near-duplicate pictures, found by what they show and not by their names."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

SIDE = 32
ALIKE = 0.9
"""Correlation of two thumbnails without their light: on `magnetic-tile` 4 of 5 pairs above it show one tile."""


def thumbnail(picture: np.ndarray) -> np.ndarray:
    """float32 (SIDE * SIDE,), mean 0 and length 1: the fine structure of uint8 (height, width)."""
    small = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    fine = (small - gaussian_filter(small, 3)).ravel()
    fine -= fine.mean()
    return fine / max(float(np.linalg.norm(fine)), 1e-6)


def near_duplicates(left: np.ndarray, right: np.ndarray, alike: float = ALIKE) -> np.ndarray:
    """bool (n,): which of the thumbnails `left` (n, SIDE * SIDE) have one like them among `right` (m, SIDE * SIDE)."""
    if not len(right):
        return np.zeros(len(left), bool)
    return np.asarray((left @ right.T).max(axis=1) > alike)
