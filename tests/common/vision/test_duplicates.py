from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from common.vision.duplicates import near_duplicates, own_structure, parts_of, thumbnail


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
    assert near_duplicates(flat[:0], flat).tolist() == []


def aligned_parts(count: int, rng: np.random.Generator) -> np.ndarray:
    """Every part twice, all of one shape in one place: a disc with a slot, each with faint marks of its own."""
    y, x = np.mgrid[:160, :160]
    shape = np.where(np.hypot(y - 80, x - 80) < 60, 150.0, 40.0) + 70 * ((abs(x - 60) < 5) & (abs(y - 80) < 20))
    found = []
    for _ in range(count):
        marked = shape + gaussian_filter(rng.normal(0, 1, shape.shape), 3) * 100
        for light in (0.9, 1.1):
            picture = marked * light + rng.normal(0, 2, shape.shape)
            found.append(thumbnail(picture.clip(0, 255).astype(np.uint8)))
    return np.array(found)


def test_parts_in_one_place_under_one_camera_are_told_apart_by_what_is_their_own():
    thumbnails = aligned_parts(30, np.random.default_rng(1))
    assert len(set(parts_of(thumbnails))) == 1
    assert parts_of(own_structure(thumbnails)).tolist() == [part for part in range(30) for _ in range(2)]


def test_pictures_joined_by_one_between_them_are_one_part_however_many_blocks(monkeypatch):
    monkeypatch.setattr("common.vision.duplicates.ROWS", 2)
    angles = np.deg2rad([0, 90, 20, 110, 40, 200, 60])  # neighbours 20 degrees apart are alike (0.94), 40 are not
    thumbnails = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert parts_of(thumbnails).tolist() == [0, 1, 0, 1, 0, 2, 0]
    assert parts_of(thumbnails[:0]).tolist() == []
