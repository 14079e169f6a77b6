from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_auc_score

from common.vision.segmentation import PixelCounts


def counted(scores, masks, parts=None):
    counts = PixelCounts(np.linspace(-4, 8, 2000))
    for score, mask in zip(scores, masks, strict=True):
        counts.add(score, mask)
    return counts.metrics(np.arange(len(masks)) if parts is None else parts, repeats=50)


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    masks = [np.zeros((40, 50), bool) for _ in range(8)]
    for mask in masks[:5]:
        mask[5:15, 5:25] = True
    masks[0][30:33, 40:43] = True
    return [rng.normal(0, 1, mask.shape) + mask * 1.5 for mask in masks], masks


def test_pixel_auroc_is_scikit_learns(pictures):
    scores, masks = pictures
    expected = roc_auc_score(np.concatenate([m.ravel() for m in masks]), np.concatenate([s.ravel() for s in scores]))
    found = counted(scores, masks)["pixel_auroc"]
    assert found.value == pytest.approx(expected, abs=1e-3)
    assert found.low <= found.value <= found.high
    assert found.n == 8


def test_pictures_of_one_part_are_drawn_together(pictures):
    scores, masks = (some * 4 for some in pictures)
    parts = np.tile(np.arange(8), 4)
    pretended, found = counted(scores, masks)["pixel_auroc"], counted(scores, masks, parts)["pixel_auroc"]
    assert found.value == pytest.approx(pretended.value)
    assert found.high - found.low > 1.4 * (pretended.high - pretended.low)


def test_the_best_f1_of_pixels_is_that_of_scikit_learns_curve(pictures):
    scores, masks = pictures
    y, p = np.concatenate([m.ravel() for m in masks]), np.concatenate([s.ravel() for s in scores])
    precision, recall, _ = precision_recall_curve(y, p)
    expected = (2 * precision * recall / np.maximum(precision + recall, 1e-9)).max()
    assert counted(scores, masks)["pixel_f1_max"].value == pytest.approx(expected, abs=2e-3)


def test_aupro_weighs_a_small_defect_as_much_as_a_large_one(pictures):
    scores, masks = pictures
    missed = [score.copy() for score in scores]
    missed[0][30:33, 40:43] = -4
    found, without = counted(scores, masks)["aupro"].value, counted(missed, masks)["aupro"].value
    assert without < found * (5 / 6) + 0.03


def test_perfect_and_random_maps_have_the_known_aupro(pictures):
    _, masks = pictures
    assert counted([mask * 5.0 for mask in masks], masks)["aupro"].value > 0.99
    rng = np.random.default_rng(1)
    assert counted([rng.normal(0, 1, m.shape) for m in masks], masks)["aupro"].value == pytest.approx(0.15, abs=0.05)
