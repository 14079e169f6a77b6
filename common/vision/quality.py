"""The light of a picture in three numbers, so that a monitor can see a lamp age or a lens go out of focus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

MARGIN = 0.1
"""Share of what good parts spanned by which a picture may go beyond before its light is unusual."""
DIGITS = 4


def quality(picture: np.ndarray) -> dict[str, float]:
    """`brightness`, `contrast` and `sharpness` of a grey picture uint8 (height, width).

    Mean and deviation of the grey values, and the variance of the Laplacian (Pech-Pacheco et al., 2000) over that of
    the picture, so that sharpness does not change with the light. Memory is three bytes a pixel.
    """
    brightness, contrast = float(picture.mean()), float(picture.std(dtype=np.float32))
    grey = picture.astype(np.int16)
    laplacian = -4 * grey[1:-1, 1:-1]
    for neighbour in (grey[:-2, 1:-1], grey[2:, 1:-1], grey[1:-1, :-2], grey[1:-1, 2:]):
        laplacian += neighbour
    squares = int(np.einsum("ij,ij->", laplacian, laplacian, dtype=np.int64))
    count = max(laplacian.size, 1)
    edges = squares / count - (int(laplacian.sum(dtype=np.int64)) / count) ** 2
    found = {"brightness": brightness, "contrast": contrast, "sharpness": edges / max(contrast**2, 1)}
    return {name: round(value, DIGITS) for name, value in found.items()}


def usual(found: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """`[low, high]` of each measure over good parts, a little wider: what `n` of them span holds a new one with a
    probability of at least `1 - 2 / (n + 1)`."""
    spans = {}
    for name in found[0]:
        values = [one[name] for one in found]
        margin = MARGIN * (max(values) - min(values))
        spans[name] = [min(values) - margin, max(values) + margin]
    return spans


def is_usual(found: Mapping[str, float], spans: Mapping[str, Sequence[float]]) -> bool:
    """Whether every measure lies within its span."""
    return all(low <= found[name] <= high for name, (low, high) in spans.items())
