from __future__ import annotations

import numpy as np
import pytest

from manufacturing.visual_inspection.synthetic import KINDS, add_defect, smooth_noise


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
