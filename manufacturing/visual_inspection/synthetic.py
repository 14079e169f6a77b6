"""Synthetic defects drawn on pictures of good parts: what the detector learns to tell from normal texture.

Five kinds after the names of common surface defects (hole, crack, break, fray, uneven shading), one that pastes a
scar of another part (CutPaste, Li et al., 2021, arXiv:2104.04015), and half of all generic. No picture of a real defect
was used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from manufacturing.visual_inspection.generic import add_generic
from manufacturing.visual_inspection.shapes import Array, blob, fitted, smooth_noise, wander

GENERIC = "generic"
KINDS = ("hole", "crack", "break", "fray", "uneven", "scar", GENERIC)
HALF = 0.5
"""Share of generic ones among those drawn."""


def add_defect(
    picture: Array, others: Sequence[Array], rng: np.random.Generator, kind: str = ""
) -> tuple[Array, Array]:
    """A copy of `picture` (height, width), float32 0 to 255, with one defect; and its mask, bool (height, width).

    `kind` is one of `KINDS`, drawn when empty; `others` are pictures that a scar may come from.
    """
    kind = kind or (GENERIC if rng.random() < HALF else str(rng.choice(KINDS[:-1])))
    contrast = max(float(picture.std()), 6.0)
    if kind == GENERIC:
        changed, mask = add_generic(picture, others, contrast, rng)
    elif kind == "scar":
        changed, mask = _scar(picture, others, rng)
    else:
        changed, mask = DRAW[kind](picture, contrast, rng)
    return np.clip(changed, 0, 255).astype(np.float32), mask


def _hole(picture: Array, contrast: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """One to three small dark pits, some with a bright rim."""
    changed, mask = picture.copy(), np.zeros(picture.shape, bool)
    for _ in range(rng.integers(1, 4)):
        depth = blob(picture.shape, rng, 1.8, 8, rng.uniform(0, 0.25))
        inside = np.clip(depth * rng.uniform(1.5, 4), 0, 1)
        changed -= inside * np.minimum(changed * rng.uniform(0.45, 0.95), contrast * rng.uniform(2, 5))
        if rng.random() < 0.4:
            rim = np.exp(-((depth / 0.25) ** 2)) * (depth < 0.1)
            changed += rim * contrast * rng.uniform(0.5, 2)
        mask |= depth > 0.05
    return changed, mask


def _crack(picture: Array, contrast: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """A dark line that wanders, of uneven width and depth."""
    line = wander(picture.shape, rng, rng.uniform(0.2, 0.9), bend=0.35, drift=0.12, uneven=True)
    thick = rng.uniform(0.6, 1.8)
    soft = gaussian_filter(line, thick) * (thick * 2.5)
    depth = np.minimum(soft, 1.2)
    changed = picture - depth * np.minimum(picture * rng.uniform(0.4, 0.9), contrast * rng.uniform(1.5, 4))
    return changed, depth > 0.25


def _break(picture: Array, contrast: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """A chipped piece: a patch of other brightness and coarse grain with a sharp, bright or dark edge."""
    depth = blob(picture.shape, rng, 6, 40, rng.uniform(0.15, 0.45))
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
    depth = blob(picture.shape, rng, 18, 80, rng.uniform(0.1, 0.4))
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
    depth = blob(picture.shape, rng, 25, 120, rng.uniform(0.1, 0.5))
    alpha = np.clip(depth * rng.uniform(1, 5), 0, 1)
    level = rng.choice([-1, 1]) * contrast * rng.uniform(0.8, 2.5)
    blurred = gaussian_filter(picture, (rng.uniform(0, 3), rng.uniform(0, 3)))
    keep = rng.uniform(0.3, 1)
    return picture * (1 - alpha) + alpha * (picture * keep + blurred * (1 - keep) + level), alpha > 0.4


def _scar(picture: Array, others: Sequence[Array], rng: np.random.Generator) -> tuple[Array, Array]:
    """An irregular piece of another part, or of this one turned, pasted in."""
    source = others[int(rng.integers(len(others)))]
    source = np.rot90(source, int(rng.integers(1, 4))) if rng.random() < 0.7 else source[::-1]
    source = np.resize(source, picture.shape) if min(source.shape) < 8 else fitted(source, picture.shape, rng)
    depth = blob(picture.shape, rng, 5, 40, rng.uniform(0.1, 0.4))
    alpha = np.clip(depth * rng.uniform(3, 12), 0, 1) * rng.uniform(0.6, 1)
    return picture * (1 - alpha) + source * alpha, depth > 0.05


DRAW: dict[str, Callable[[Array, float, np.random.Generator], tuple[Array, Array]]] = {
    "hole": _hole,
    "crack": _crack,
    "break": _break,
    "fray": _fray,
    "uneven": _uneven,
}
