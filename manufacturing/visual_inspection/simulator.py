"""Simulated magnetic tiles: ground steel with vertical marks under uneven light, each tile at two exposures.

They have an up side: the light comes from above, and a notch is cut into the upper edge, left of its middle.
"""

from __future__ import annotations

import numpy as np

from manufacturing.visual_inspection.shapes import smooth_noise
from manufacturing.visual_inspection.synthetic import DRAW, add_defect

SIMULATED = "tiles-simulated"
EXPOSURES = 2
DEFECTIVE = 0.3
"""Share of tiles with a defect."""
FROM_ABOVE = 10
"""Grey values by which the upper edge is lighter than the middle, and the lower one darker."""
NOTCH = 7
"""Its radius in pixels."""


def simulate(tiles: int, seed: int) -> list[tuple[str, int, np.ndarray, np.ndarray | None]]:
    """(kind, tile, picture uint8 (height, width), mask bool or None) of every picture; kind is `good` or a defect."""
    rng = np.random.default_rng(seed)
    made: list[tuple[str, int, np.ndarray, np.ndarray | None]] = []
    for tile in range(tiles):
        surface = _surface((int(rng.integers(110, 150)), int(rng.integers(100, 140))), rng)
        kind, mask = "good", None
        if tile < DEFECTIVE * tiles:
            kind = tuple(DRAW)[tile % len(DRAW)]
            while mask is None or not mask.any():
                damaged, mask = add_defect(surface, [surface], rng, kind)
            surface = damaged
        for exposure in rng.uniform(0.5, 1.3, EXPOSURES):
            noise = rng.normal(0, 2 * exposure, surface.shape)
            made.append((kind, tile, np.clip(surface * exposure + noise, 0, 255).astype(np.uint8), mask))
    return made


def _surface(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """float32 (height, width): light, grinding marks, grain and the notch."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    light = 110 + 6 * smooth_noise(shape, 3, rng) + FROM_ABOVE * (1 - 2 * y / height)
    marks = np.repeat(rng.normal(0, 6, (1, shape[1])), shape[0], axis=0) * (1 + 0.3 * smooth_noise(shape, 8, rng))
    surface = light + marks + rng.normal(0, 4, shape)
    surface[np.hypot(y, x - 0.3 * width) < NOTCH] = 30
    return surface.astype(np.float32)
