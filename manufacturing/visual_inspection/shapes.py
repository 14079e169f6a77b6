"""What synthetic defects are drawn with: noise, blobs, wandering lines, windows of other parts."""

from __future__ import annotations

import numpy as np
from PIL import Image

Array = np.ndarray


def smooth_noise(shape: tuple[int, int], cells: int, rng: np.random.Generator) -> Array:
    """Noise of about `cells` bumps along the longer side, mean 0 and deviation 1, float32 of `shape`."""
    height, width = shape
    longest = max(shape)
    grid = rng.standard_normal((max(2, cells * height // longest + 1), max(2, cells * width // longest + 1)))
    field = np.asarray(
        Image.fromarray(grid.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC), np.float32
    )
    return (field - field.mean()) / (field.std() + 1e-6)


def blob(shape: tuple[int, int], rng: np.random.Generator, smallest: float, largest: float, rough: float) -> Array:
    """Signed depth inside an irregular blob (positive inside), about 1 in its middle; radii in pixels."""
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    radius = np.exp(rng.uniform(np.log(smallest), np.log(largest)))
    stretch = rng.uniform(1, 2.2) ** rng.choice([-0.5, 0.5])
    angle, cy, cx = rng.uniform(0, np.pi), rng.uniform(0, height), rng.uniform(0, width)
    dy, dx = y - cy, x - cx
    u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    distance = np.sqrt((u / (radius * stretch)) ** 2 + (v / (radius / stretch)) ** 2)
    if rough:
        cells = int(np.clip(max(shape) / radius * 1.5, 3, max(shape) / 2))
        distance = distance + rough * smooth_noise(shape, cells, rng)
    return 1 - distance


def wander(
    shape: tuple[int, int], rng: np.random.Generator, length: float, *, bend: float, drift: float, uneven: bool = False
) -> Array:
    """A line one pixel wide, float32 of `shape`, that starts anywhere; `length` as a share of the longer side.

    Its direction varies at each pixel by `bend` and wanders by `drift`, in radians; an uneven one varies in strength
    around 1.
    """
    height, width = shape
    steps = int(length * max(shape))
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, drift, steps)) + rng.normal(0, bend, steps)
    y = rng.uniform(0, height) + np.cumsum(np.sin(angle))
    x = rng.uniform(0, width) + np.cumsum(np.cos(angle))
    kept = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    strength = np.ones(steps, np.float32)
    if uneven and steps > 2:
        strength = np.clip(1 + 0.4 * smooth_noise((2, steps), 12, rng)[0], 0.2, 2)
    line = np.zeros(shape, np.float32)
    np.maximum.at(line, (y[kept].astype(int), x[kept].astype(int)), strength[kept])
    return line


def fitted(source: Array, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """A random window of `source` of this shape, mirrored at the edges where it is too small."""
    extra = [(0, max(0, wanted - has)) for wanted, has in zip(shape, source.shape, strict=True)]
    wide = np.pad(source, extra, mode="symmetric") if any(after for _, after in extra) else source
    top, left = (int(rng.integers(0, has - wanted + 1)) for has, wanted in zip(wide.shape, shape, strict=True))
    return wide[top : top + shape[0], left : left + shape[1]]
