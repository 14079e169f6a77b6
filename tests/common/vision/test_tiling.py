from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from common.vision.tiling import spans, tiled

STRIDE, CELL = 16, 8


def blurred(picture: np.ndarray, reach: int = 24) -> np.ndarray:
    """Two maps of 8 x 8 cells that look `reach` pixels around them, with zeros beyond the picture."""
    wide = uniform_filter(picture, 2 * reach + 1, mode="constant")
    cells = picture.shape[0] // CELL, CELL, picture.shape[1] // CELL, CELL
    return np.stack([wide.reshape(cells).max((1, 3)), picture.reshape(cells).mean((1, 3))])


@pytest.mark.parametrize(("height", "width"), [(64, 64), (160, 176), (16, 800), (400, 336), (512, 48)])
def test_stitched_maps_are_those_of_the_whole_where_the_network_looks_less_far_than_half_the_overlap(height, width):
    picture = np.random.default_rng(0).integers(0, 256, (height, width)).astype(float)
    whole = blurred(picture)
    for workers in (1, 3):
        parts = tiled(picture, blurred, side=128, overlap=64, stride=STRIDE, cell=CELL, workers=workers)
        assert parts.shape == whole.shape
        assert np.allclose(parts, whole, rtol=0, atol=1e-9)


def test_with_too_small_an_overlap_the_seams_would_show():
    picture = np.random.default_rng(0).integers(0, 256, (256, 256)).astype(float)
    parts = tiled(picture, blurred, side=128, overlap=16, stride=STRIDE, cell=CELL)
    assert np.abs(parts - blurred(picture)).max() > 1


def test_every_pixel_belongs_to_one_tile_far_from_its_inner_edges():
    for length in range(16, 1200, 16):
        found = spans(length, 256, 96, STRIDE)
        assert [pixel for span in found for pixel in range(span.first, span.last)] == list(range(length))
        for span in found:
            assert span.stop - span.start == min(length, 256)
            assert span.start == 0 or span.first - span.start >= 96 / 2 - STRIDE
            assert span.stop == length or span.stop - span.last >= 96 / 2 - STRIDE


def test_sizes_off_the_grid_are_refused():
    for length, side, overlap in ((100, 64, 32), (128, 60, 32), (128, 64, 30), (128, 64, 64)):
        with pytest.raises(ValueError, match="multiples of 16"):
            spans(length, side, overlap, STRIDE)


def test_twelve_megapixels_take_the_memory_of_a_tile():
    picture = np.zeros((3008, 4000), np.uint8)
    picture[2000:2040, 3000:3040] = 255

    def hungry(tile: np.ndarray) -> np.ndarray:
        features = np.repeat(tile[None].astype(np.float32), 16, axis=0)  # 64 bytes a pixel, as a network's maps
        return features.reshape(16, tile.shape[0] // CELL, CELL, tile.shape[1] // CELL, CELL).max((2, 4))[:2]

    tracemalloc.start()
    try:
        maps = tiled(picture, hungry, side=1024, overlap=192, stride=STRIDE, cell=CELL)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert maps.shape == (2, 376, 500)
    assert np.argwhere(maps[0]).min(0).tolist() == [250, 375]
    assert peak < 100e6 < picture.size * 64
