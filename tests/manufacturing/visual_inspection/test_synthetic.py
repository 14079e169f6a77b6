from __future__ import annotations

import numpy as np
import pytest

from manufacturing.visual_inspection.generic import CONTENTS, SHAPES
from manufacturing.visual_inspection.shapes import smooth_noise, wander
from manufacturing.visual_inspection.synthetic import KINDS, add_defect


@pytest.mark.parametrize("kind", KINDS)
def test_a_defect_changes_the_picture_inside_its_mask_more_than_outside(kind):
    rng = np.random.default_rng(3)
    good = rng.normal(120, 8, (96, 80)).astype(np.float32)
    other = rng.normal(80, 15, (70, 120)).astype(np.float32)
    inside, outside, seen = 0.0, 0.0, 0
    for _ in range(12):
        bad, mask = add_defect(good, [other], rng, kind)
        assert bad.shape == mask.shape == good.shape
        assert (bad.dtype, mask.dtype) == (np.float32, bool)
        assert bad.min() >= 0
        assert bad.max() <= 255
        if mask.any() and not mask.all():
            changed = np.abs(bad - good)
            inside, outside, seen = inside + changed[mask].mean(), outside + changed[~mask].mean(), seen + 1
    assert seen >= 6
    assert inside > 3 * outside


def test_the_same_seed_draws_the_same_defect():
    good = np.full((64, 64), 100, np.float32)
    first, second = (add_defect(good, [good], np.random.default_rng(5))[0] for _ in range(2))
    assert np.array_equal(first, second)


def test_noise_is_standardised():
    noise = smooth_noise((50, 90), 6, np.random.default_rng(0))
    assert noise.shape == (50, 90)
    assert abs(noise.mean()) < 1e-4
    assert abs(noise.std() - 1) < 1e-3


@pytest.mark.parametrize("shape", SHAPES)
def test_a_generic_shape_is_an_opacity_that_is_not_always_the_same(shape):
    rng = np.random.default_rng(0)
    drawn = [shape((64, 48), rng) for _ in range(20)]
    assert all(one.shape == (64, 48) and one.min() >= 0 and one.max() <= 1 for one in drawn)
    assert np.std([one.mean() for one in drawn]) > 0.005


@pytest.mark.parametrize("content", CONTENTS)
def test_a_generic_content_is_another_picture_of_the_same_size(content):
    rng = np.random.default_rng(0)
    good, other = rng.normal(120, 8, (96, 80)).astype(np.float32), rng.normal(90, 8, (40, 50)).astype(np.float32)
    found = content(good, [other], 8.0, rng)
    assert found.shape == good.shape
    assert np.isfinite(found).all()
    assert np.abs(found - good).mean() > 0.5


def test_a_line_is_as_long_as_asked_and_straight_without_bend():
    line = wander((400, 400), np.random.default_rng(4), 0.2, bend=0, drift=0)
    y, x = np.nonzero(line)
    assert 40 <= len(y) <= 80
    assert max(np.ptp(y), np.ptp(x)) >= 50
