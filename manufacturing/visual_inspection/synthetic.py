"""Synthetic defects drawn on pictures of good parts: what the detector learns to tell from normal texture.

Five kinds after the names of common surface defects (hole, crack, break, fray, uneven shading) and one that pastes a
scar of another part (CutPaste, Li et al., 2021, arXiv:2104.04015). No picture of a real defect was used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

Array = np.ndarray
KINDS = ("hole", "crack", "break", "fray", "uneven", "scar")


def add_defect(
    picture: Array, others: Sequence[Array], rng: np.random.Generator, kind: str = ""
) -> tuple[Array, Array]:
    """A copy of `picture` (height, width), float32 0 to 255, with one defect; and its mask, bool (height, width).

    `kind` is one of `KINDS`, drawn when empty; `others` are pictures that a scar may come from.
    """
    kind = kind or str(rng.choice(KINDS))
    contrast = max(float(picture.std()), 6.0)
    if kind == "scar":
        changed, mask = _scar(picture, others, rng)
    else:
        changed, mask = DRAW[kind](picture, contrast, rng)
    return np.clip(changed, 0, 255).astype(np.float32), mask


def smooth_noise(shape: tuple[int, int], cells: int, rng: np.random.Generator) -> Array:
    """Noise of about `cells` bumps along the longer side, mean 0 and deviation 1, float32 of `shape`."""
    height, width = shape
    longest = max(shape)
    grid = rng.standard_normal((max(2, cells * height // longest + 1), max(2, cells * width // longest + 1)))
    field = np.asarray(
        Image.fromarray(grid.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC), np.float32
    )
    return (field - field.mean()) / (field.std() + 1e-6)


def _blob(shape: tuple[int, int], rng: np.random.Generator, smallest: float, largest: float, rough: float) -> Array:
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


def _hole(picture: Array, contrast: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """One to three small dark pits, some with a bright rim."""
    changed, mask = picture.copy(), np.zeros(picture.shape, bool)
    for _ in range(rng.integers(1, 4)):
        depth = _blob(picture.shape, rng, 1.8, 8, rng.uniform(0, 0.25))
        inside = np.clip(depth * rng.uniform(1.5, 4), 0, 1)
        changed -= inside * np.minimum(changed * rng.uniform(0.45, 0.95), contrast * rng.uniform(2, 5))
        if rng.random() < 0.4:
            rim = np.exp(-((depth / 0.25) ** 2)) * (depth < 0.1)
            changed += rim * contrast * rng.uniform(0.5, 2)
        mask |= depth > 0.05
    return changed, mask


def _crack(picture: Array, contrast: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """A dark line that wanders, of uneven width and depth."""
    height, width = picture.shape
    steps = int(rng.uniform(0.2, 0.9) * max(picture.shape))
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.12, steps)) + rng.normal(0, 0.35, steps)
    y = rng.uniform(0, height) + np.cumsum(np.sin(angle))
    x = rng.uniform(0, width) + np.cumsum(np.cos(angle))
    kept = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    line = np.zeros(picture.shape, np.float32)
    strength = np.clip(1 + 0.4 * smooth_noise((2, steps), 12, rng)[0], 0.2, 2) if steps > 2 else np.ones(steps)
    np.maximum.at(line, (y[kept].astype(int), x[kept].astype(int)), strength[kept].astype(np.float32))
    thick = rng.uniform(0.6, 1.8)
    soft = gaussian_filter(line, thick) * (thick * 2.5)
    depth = np.minimum(soft, 1.2)
    changed = picture - depth * np.minimum(picture * rng.uniform(0.4, 0.9), contrast * rng.uniform(1.5, 4))
    return changed, depth > 0.25


def _break(picture: Array, contrast: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """A chipped piece: a patch of other brightness and coarse grain with a sharp, bright or dark edge."""
    depth = _blob(picture.shape, rng, 6, 40, rng.uniform(0.15, 0.45))
    mask = depth > 0
    level = rng.choice([-1, -1, 1]) * contrast * rng.uniform(0.6, 3)
    grain = contrast * rng.uniform(0.2, 1.2) * smooth_noise(picture.shape, int(rng.integers(20, 70)), rng)
    base = picture.mean() * (1 - (share := rng.uniform(0.3, 1))) + gaussian_filter(picture, 4) * share
    alpha = gaussian_filter(mask.astype(np.float32), rng.uniform(0.4, 1.2)) * rng.uniform(0.6, 1)
    changed = picture * (1 - alpha) + alpha * (base + level + grain)
    edge = np.exp(-((depth / rng.uniform(0.04, 0.15)) ** 2))
    return changed + edge * contrast * rng.uniform(-1.5, 1.5), mask


def _fray(picture: Array, contrast: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """A worn area: pixels displaced, grain across the grinding marks, some loss of light."""
    depth = _blob(picture.shape, rng, 18, 80, rng.uniform(0.1, 0.4))
    alpha = np.clip(depth * rng.uniform(2, 8), 0, 1)
    size, cells = rng.uniform(2, 7), int(rng.integers(15, 50))
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    y, x = y + size * smooth_noise(picture.shape, cells, rng), x + size * smooth_noise(picture.shape, cells, rng)
    warped = map_coordinates(picture, [y, x], order=1, mode="reflect")
    grain = contrast * rng.uniform(0.2, 1) * smooth_noise(picture.shape, int(rng.integers(30, 90)), rng)
    other = warped * rng.uniform(0.6, 1.15) + grain
    return picture * (1 - alpha) + other * alpha, alpha > 0.5


def _uneven(picture: Array, contrast: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Shading: a large area lighter or darker, its texture weaker, its edge soft on one side at least."""
    depth = _blob(picture.shape, rng, 25, 120, rng.uniform(0.1, 0.5))
    alpha = np.clip(depth * rng.uniform(1, 5), 0, 1)
    level = rng.choice([-1, 1]) * contrast * rng.uniform(0.8, 2.5)
    blurred = gaussian_filter(picture, (rng.uniform(0, 3), rng.uniform(0, 3)))
    keep = rng.uniform(0.3, 1)
    return picture * (1 - alpha) + alpha * (picture * keep + blurred * (1 - keep) + level), alpha > 0.4


def _scar(picture: Array, others: Sequence[Array], rng: np.random.Generator) -> tuple[Array, Array]:
    """An irregular piece of another part, or of this one turned, pasted in."""
    source = others[int(rng.integers(len(others)))]
    source = np.rot90(source, int(rng.integers(1, 4))) if rng.random() < 0.7 else source[::-1]
    source = np.resize(source, picture.shape) if min(source.shape) < 8 else _fitted(source, picture.shape, rng)
    depth = _blob(picture.shape, rng, 5, 40, rng.uniform(0.1, 0.4))
    alpha = np.clip(depth * rng.uniform(3, 12), 0, 1) * rng.uniform(0.6, 1)
    return picture * (1 - alpha) + source * alpha, depth > 0.05


def _fitted(source: Array, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """A random window of `source` of this shape, mirrored at the edges where it is too small."""
    extra = [(0, max(0, wanted - has)) for wanted, has in zip(shape, source.shape, strict=True)]
    wide = np.pad(source, extra, mode="symmetric") if any(after for _, after in extra) else source
    top, left = (int(rng.integers(0, has - wanted + 1)) for has, wanted in zip(wide.shape, shape, strict=True))
    return wide[top : top + shape[0], left : left + shape[1]]


DRAW: dict[str, Callable[[Array, float, np.random.Generator], tuple[Array, Array]]] = {
    "hole": _hole,
    "crack": _crack,
    "break": _break,
    "fray": _fray,
    "uneven": _uneven,
}
