from __future__ import annotations

import numpy as np
import pytest
import torch

from manufacturing.visual_inspection.config import CropSettings
from manufacturing.visual_inspection.crops import Crops, Labelled

SETTINGS = CropSettings(count=32, side=64, defective=0.9)


@pytest.fixture
def good():
    rng = np.random.default_rng(0)
    return [rng.normal(100, 20, (80, 72)).clip(0, 255).astype(np.float32) for _ in range(4)]


def drawn(crops, seed=0):
    torch.manual_seed(seed)
    return [crops[i] for i in range(len(crops))]


def test_crops_and_masks_have_their_shapes_and_most_show_a_defect(good):
    pairs = drawn(Crops(SETTINGS, good))
    assert {tuple(crop.shape) for crop, _ in pairs} == {(1, 64, 64)}
    assert {tuple(mask.shape) for _, mask in pairs} == {(8, 8)}
    assert 0.7 < np.mean([bool(mask.any()) for _, mask in pairs]) <= 1
    assert all(crop.abs().max() <= 1 for crop, _ in pairs)


def test_the_same_seed_draws_the_same_and_every_epoch_others(good):
    crops = Crops(SETTINGS, good)
    first, second = drawn(crops, 1), drawn(crops, 1)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, second, strict=True))
    assert not torch.equal(crops[0][0], crops[0][0])


def test_a_clean_crop_differs_where_the_defect_is_and_nowhere_else(good):
    for damaged, clean in drawn(Crops(SETTINGS, good, clean=True))[:8]:
        changed = (damaged - clean).abs() > 1e-6
        assert changed.float().mean() < 1


def test_half_of_the_defective_crops_hold_a_labelled_defect(good):
    picture, mask = good[0].copy(), np.zeros((80, 72), bool)
    picture[:, :], mask[30:40, 30:40] = 100, True
    picture[30:40, 30:40] = 255
    settings = CropSettings(count=200, side=64, defective=0.8)
    pairs = drawn(Labelled(settings, good, [picture, good[1]], [mask, None]))
    # The labelled picture is flat but for its square; the good ones are noise.
    held = sum(bool(((crop - crop.median()).abs().median() < 0.1) & mask.any()) for crop, mask in pairs)
    assert 0.3 < held / len(pairs) < 0.5  # 0.8 / 2


def test_masks_follow_the_size_of_the_resized_picture(good):
    mask = np.zeros((40, 36), bool)
    mask[10:20, 9:18] = True
    labelled = Labelled(SETTINGS, good, [good[0]], [mask])
    [(picture, fitted)] = labelled.pairs
    assert fitted.shape == picture.shape == (80, 72)
    assert fitted[20:40, 18:36].all()
    assert fitted.sum() == 20 * 18


def test_defects_without_a_mask_leave_crops_as_they_are(good):
    pairs = drawn(Labelled(SETTINGS, good, [good[0]], [None]))
    assert len(pairs) == SETTINGS.count
