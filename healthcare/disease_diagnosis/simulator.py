"""Simulated chests, 28 x 28: two dark lungs in a light body, opaque patches in those with pneumonia."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

SIMULATED = "chest-simulated"
SIDE = 28
ILL = 0.6
"""Share of chests with pneumonia."""


def simulate(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 (count, 28, 28) and labels (count,): 1 for pneumonia."""
    rng = np.random.default_rng(seed)
    y = (rng.random(count) < ILL).astype(int)
    return np.stack([_chest(bool(ill), rng) for ill in y]), y


def _chest(ill: bool, rng: np.random.Generator) -> np.ndarray:
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1) - 0.5
    rows, columns = rows - rng.normal(0, 0.02), columns - rng.normal(0, 0.02)
    picture = 0.75 + 0.15 * rows - 0.5 * np.maximum(np.abs(columns) - 0.4, 0)
    for side in (-1, 1):
        width, height = rng.uniform(0.11, 0.14), rng.uniform(0.28, 0.34)
        lung = ((columns - 0.2 * side) / width) ** 2 + ((rows + 0.02) / height) ** 2 < 1
        picture = picture - rng.uniform(0.35, 0.45) * lung
        if ill and rng.random() < 0.8:
            centre = rng.uniform(-0.1, 0.2), side * rng.uniform(0.15, 0.25)
            spot = np.exp(-((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) / rng.uniform(0.008, 0.02))
            picture = picture + rng.uniform(0.2, 0.4) * spot * lung
    heart = ((columns - 0.08) / 0.12) ** 2 + ((rows - 0.15) / 0.15) ** 2 < 1
    picture = gaussian_filter(np.where(heart, 0.8, picture), 0.7) + rng.normal(0, 0.02, picture.shape)
    return np.clip(255 * (picture * rng.uniform(0.85, 1.1)), 0, 255).astype(np.uint8)
