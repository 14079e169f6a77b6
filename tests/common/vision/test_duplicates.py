from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from common.vision.duplicates import near_duplicates, thumbnail


def test_another_exposure_of_a_part_is_found_and_another_part_is_not():
    rng = np.random.default_rng(0)
    parts = [gaussian_filter(rng.normal(0, 1, (160, 120)), 4) * 150 + 110 for _ in range(6)]
    ramp = np.linspace(-20, 20, 120)
    first = np.array([thumbnail(part.clip(0, 255).astype(np.uint8)) for part in parts[:3]])
    again = [np.clip(part * 0.6 + ramp, 0, 255).astype(np.uint8)[1:, 1:] for part in parts[1:]]
    found = near_duplicates(first, np.array([thumbnail(picture) for picture in again]))
    assert found.tolist() == [False, True, True]


def test_a_flat_picture_is_like_nothing():
    flat = thumbnail(np.full((40, 40), 9, np.uint8))[None]
    assert not near_duplicates(flat, flat).any()
    assert not near_duplicates(flat, flat[:0]).any()
