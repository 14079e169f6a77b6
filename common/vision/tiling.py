"""Maps of pictures too large for one run of a network: cut into overlapping tiles, the middles of their maps joined.

Near its edge a map of a tile shows the padding of the network and not the picture. Two neighbours overlap, and each
gives its half: a network that looks no further than half the overlap gives the same map in tiles and whole.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np


@dataclass(frozen=True)
class Span:
    """A tile along one side, in pixels: it reads `start` to `stop` and answers for `first` to `last`."""

    start: int
    stop: int
    first: int
    last: int


def spans(length: int, side: int, overlap: int, stride: int) -> list[Span]:
    """Tiles of `side` pixels that cover `length`, neighbours sharing at least `overlap`; all are multiples of `stride`.

    What they answer for covers every pixel once. One span when `length` is no more than `side`.
    """
    if any(value % stride for value in (length, side, overlap)) or not 0 <= overlap < side:
        raise ValueError(f"{length}, {side}, {overlap}: expected multiples of {stride}, the overlap below the side")
    if length <= side:
        return [Span(0, length, 0, length)]
    starts = [*range(0, length - side, side - overlap), length - side]
    borders = [(left + side + right) // 2 // stride * stride for left, right in pairwise(starts)]
    return [
        Span(start, start + side, first, last)
        for start, first, last in zip(starts, [0, *borders], [*borders, length], strict=True)
    ]


def tiled(
    picture: np.ndarray,
    maps_of: Callable[[np.ndarray], np.ndarray],
    *,
    side: int,
    overlap: int,
    stride: int,
    cell: int,
    workers: int = 1,
) -> np.ndarray:
    """Maps (channels, height / cell, width / cell) of a picture (height, width) whose sides are multiples of `stride`.

    `maps_of` gives those of one tile of at most `side` x `side`. The tiles begin at multiples of `stride`, the largest
    step of the network, so that its grid lies on every tile as on the whole; `cell` is the pixels of one map entry.
    `workers` threads look at as many tiles at a time.
    """
    height, width = picture.shape
    whole: np.ndarray | None = None
    tiles = list(product(*(spans(length, side, overlap, stride) for length in (height, width))))

    def of_tile(tile: tuple[Span, Span]) -> np.ndarray:
        down, across = tile
        return maps_of(np.ascontiguousarray(picture[down.start : down.stop, across.start : across.stop]))

    with ThreadPoolExecutor(workers) as pool:
        for (down, across), found in zip(tiles, pool.map(of_tile, tiles), strict=True):
            if whole is None:
                whole = np.empty((len(found), height // cell, width // cell), found.dtype)
            to, of = (_place(down, across, by, cell) for by in ((0, 0), (down.start, across.start)))
            whole[:, *to] = found[:, *of]
    assert whole is not None
    return whole


def _place(down: Span, across: Span, origin: tuple[int, int], cell: int) -> tuple[slice, slice]:
    """Where a tile's share stands in a map that begins at `origin`."""
    rows, columns = (
        slice((span.first - start) // cell, (span.last - start) // cell)
        for span, start in zip((down, across), origin, strict=True)
    )
    return rows, columns
