"""Generic synthetic defects: a shape and a content that are drawn independently, for what nobody has thought of.

A segmenter that had learnt these alone told the cracks of `synthetic` from good magnetic tiles with an AUROC of 0.83
though it had never seen one; after all other kinds of `synthetic` but no crack it was 0.67.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from manufacturing.visual_inspection.shapes import Array, blob, fitted, smooth_noise, wander

VISIBLE = 0.25
"""Mean change inside the mask, in deviations of the picture: less is no defect."""
INSIDE = 0.3
"""Opacity from which a pixel counts as defective."""
SMALLEST, LARGEST = 4, 0.8
"""Pixels of a mask at least, and its share of the picture at most."""
ROUNDS = 20


def add_generic(
    picture: Array, others: Sequence[Array], contrast: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """`picture` (height, width) with one defect of any shape and content; and its mask, bool (height, width).

    The picture as it was and an empty mask when nothing visible was drawn in `ROUNDS` rounds.
    """
    for _ in range(ROUNDS):
        opacity = SHAPES[int(rng.choice(len(SHAPES), p=SHARES))](picture.shape, rng) * rng.uniform(0.6, 1)
        content = CONTENTS[int(rng.integers(len(CONTENTS)))](picture, others, contrast, rng)
        changed = picture * (1 - opacity) + content * opacity
        if rng.random() < 0.25:
            rim = opacity - gaussian_filter(opacity, rng.uniform(0.6, 2))
            changed = changed + rim * contrast * rng.uniform(-4, 4)
        changed, mask = np.clip(changed, 0, 255), opacity > INSIDE
        fits = mask.sum() >= SMALLEST and mask.mean() < LARGEST
        if fits and np.abs(changed - picture)[mask].mean() > VISIBLE * contrast:
            return changed, mask
    return picture.copy(), np.zeros(picture.shape, bool)


def _spot(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    return np.clip(blob(shape, rng, 2, 90, rng.uniform(0, 0.5)) * rng.uniform(1, 8), 0, 1)


def _line(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Straight or wandering, thin or thick, whole or in pieces."""
    line = wander(shape, rng, rng.uniform(0.1, 1), bend=rng.uniform(0, 0.35), drift=rng.uniform(0, 0.15))
    thick = np.exp(rng.uniform(np.log(0.5), np.log(4)))
    soft = gaussian_filter(line, thick) * thick * 2.5
    if rng.random() < 0.5:
        soft = soft * np.clip(1 + 0.6 * smooth_noise(shape, 20, rng), 0, 2)
    return np.clip(soft * rng.uniform(0.8, 3), 0, 1)


def _side(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """All on one side of a rough line, or a band along it."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else rng.integers(4) * np.pi / 2
    beyond = (x - rng.uniform(0, shape[1])) * np.cos(angle) + (y - rng.uniform(0, shape[0])) * np.sin(angle)
    beyond = beyond + rng.uniform(0, 12) * smooth_noise(shape, int(rng.integers(3, 30)), rng)
    opacity = np.clip(beyond / np.exp(rng.uniform(0, 3.5)), 0, 1)
    if rng.random() < 0.5:
        opacity = opacity * np.clip((rng.uniform(10, 60) - beyond) / np.exp(rng.uniform(0, 3)), 0, 1)
    return opacity


def _speckle(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """The peaks of smooth noise, in one spot or everywhere (as the masks of DRAEM, arXiv:2108.07610)."""
    noise = smooth_noise(shape, int(np.exp(rng.uniform(np.log(3), np.log(40)))), rng)
    opacity = np.clip((noise - np.quantile(noise, rng.uniform(0.6, 0.99))) * rng.uniform(1, 8), 0, 1)
    return opacity * _spot(shape, rng) if rng.random() < 0.6 else opacity


def _shifted(picture: Array, others: Sequence[Array], contrast: float, rng: np.random.Generator) -> Array:
    return picture + rng.choice([-1, -1, 1]) * contrast * np.exp(rng.uniform(np.log(0.6), np.log(4)))


def _scaled(picture: Array, others: Sequence[Array], contrast: float, rng: np.random.Generator) -> Array:
    return picture * np.exp(rng.choice([-1, -1, 1]) * rng.uniform(0.2, 1.2))


def _blurred(picture: Array, others: Sequence[Array], contrast: float, rng: np.random.Generator) -> Array:
    return gaussian_filter(picture, (rng.uniform(0.5, 4), rng.uniform(0.5, 4))) + contrast * rng.normal(0, 0.5)


def _grain(picture: Array, others: Sequence[Array], contrast: float, rng: np.random.Generator) -> Array:
    noise = smooth_noise(picture.shape, int(np.exp(rng.uniform(np.log(8), np.log(90)))), rng)
    return picture + contrast * (rng.uniform(0.4, 1.8) * noise + rng.normal(0, 0.5))


def _warped(picture: Array, others: Sequence[Array], contrast: float, rng: np.random.Generator) -> Array:
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    size, cells = rng.uniform(2, 9), int(rng.integers(6, 50))
    y, x = (axis + size * smooth_noise(picture.shape, cells, rng) for axis in (y, x))
    return map_coordinates(picture, [y, x], order=1, mode="reflect") + contrast * rng.normal(0, 0.5)


def _pasted(picture: Array, others: Sequence[Array], contrast: float, rng: np.random.Generator) -> Array:
    """Another part, turned, at its own light or at this one's."""
    other = np.rot90(others[int(rng.integers(len(others)))], int(rng.integers(4)))
    other = fitted(other, picture.shape, rng)
    if rng.random() < 0.5:
        other = (other - other.mean()) / (other.std() + 1) * picture.std() + picture.mean()
        other = other + contrast * rng.normal(0, 0.7)
    return other


def _flat(picture: Array, others: Sequence[Array], contrast: float, rng: np.random.Generator) -> Array:
    noise = rng.standard_normal(picture.shape).astype(np.float32)
    return picture.mean() + contrast * (rng.normal(0, 1.5) + rng.uniform(0, 0.6) * noise)


SHAPES: tuple[Callable[[tuple[int, int], np.random.Generator], Array], ...] = (_spot, _line, _side, _speckle)
SHARES = (0.35, 0.3, 0.15, 0.2)
CONTENTS: tuple[Callable[[Array, Sequence[Array], float, np.random.Generator], Array], ...] = (
    _shifted,
    _scaled,
    _blurred,
    _grain,
    _warped,
    _pasted,
    _flat,
)
