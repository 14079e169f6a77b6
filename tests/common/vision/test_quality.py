from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from common.vision.images import standardised
from common.vision.quality import is_usual, quality, usual


@pytest.fixture
def picture() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.clip(gaussian_filter(rng.normal(120, 60, (90, 120)), 1), 0, 255).astype(np.uint8)


def test_darkness_is_seen_in_brightness_and_contrast_and_leaves_sharpness(picture):
    light, dark = quality(picture), quality((picture * 0.6).astype(np.uint8))
    assert dark["brightness"] == pytest.approx(0.6 * light["brightness"], rel=0.02)
    assert dark["contrast"] == pytest.approx(0.6 * light["contrast"], rel=0.02)
    assert dark["sharpness"] == pytest.approx(light["sharpness"], rel=0.1)


def test_a_lens_out_of_focus_is_seen_in_sharpness(picture):
    blurred = gaussian_filter(picture, 2)
    assert quality(blurred)["sharpness"] < quality(picture)["sharpness"] / 3
    assert quality(blurred)["brightness"] == pytest.approx(quality(picture)["brightness"], abs=2)


def test_sums_do_not_overflow():
    board = np.indices((600, 900)).sum(0).astype(np.uint8) % 2 * 255
    found = quality(board)
    assert found["contrast"] == pytest.approx(127.5)
    assert found["sharpness"] == pytest.approx(64, rel=1e-3)  # a Laplacian of 4 x 255 either way


@pytest.mark.parametrize("shape", [(1, 1), (2, 40), (40, 1)])
def test_a_picture_without_an_inside_has_no_edges(shape):
    assert quality(np.full(shape, 7, np.uint8)) == {"brightness": 7, "contrast": 0, "sharpness": 0}


def test_what_lies_beyond_the_good_parts_is_unusual():
    parts = [{"brightness": value, "contrast": 10.0} for value in (100.0, 110.0, 120.0)]
    spans = usual(parts)
    assert spans == {"brightness": [98, 122], "contrast": [10, 10]}
    assert is_usual({"brightness": 121, "contrast": 10}, spans)
    assert not is_usual({"brightness": 97, "contrast": 10}, spans)
    assert not is_usual({"brightness": 110, "contrast": 11}, spans)


def test_a_standardised_picture_keeps_nothing_of_its_exposure(picture):
    bright = standardised(picture.astype(np.float32) * 1.3 + 10)
    assert np.abs(bright - standardised(picture)).max() < 0.02
    assert bright.dtype == np.float32
    assert abs(bright.mean()) < 1e-3
    assert bright.std() == pytest.approx(0.35, abs=0.02)
    assert np.abs(standardised(np.full((8, 8), 200))).max() == 0
