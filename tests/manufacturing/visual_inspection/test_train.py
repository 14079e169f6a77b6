from __future__ import annotations

import numpy as np
import pytest
import torch

from common.vision.images import resized
from manufacturing.visual_inspection.config import Config
from manufacturing.visual_inspection.evaluate import restored
from manufacturing.visual_inspection.model import MemoryBank, coreset
from manufacturing.visual_inspection.train import as_tensor, score


def test_onnx_runtime_and_torch_give_the_same_scores_and_maps(config, bundle, predictor, split):
    inspector = restored(bundle, config)
    for picture in split["test"].picture[:5]:
        ready = resized(picture, config.scale)
        found, _, heat = predictor.measure(picture)
        assert found == pytest.approx(score(inspector, ready), abs=1e-4)
        with torch.inference_mode():
            expected = inspector(as_tensor(ready), torch.zeros(1))[2][0].numpy()
        assert np.abs(heat - expected).max() < 1e-3


def test_the_alarm_is_calibrated_on_parts_that_training_did_not_see(bundle, split):
    calibration = bundle.arrays("calibration.safetensors")["score"]
    assert len(calibration) == len(split["valid"])
    assert bundle.json("metrics.json")["threshold"] in calibration


def test_the_bank_keeps_its_size_whatever_the_number_of_pictures(config, bundle):
    assert bundle.arrays("weights.safetensors")["bank.bank"].shape == (config.bank.size, config.bank.dimensions)


def test_the_coreset_takes_the_far_points_first():
    points = torch.cat([torch.zeros(50, 2) + torch.rand(50, 2) * 0.1, torch.tensor([[9.0, 0.0], [0.0, 9.0]])])
    chosen = coreset(points, 3, torch.Generator().manual_seed(0)).tolist()
    assert {50, 51} <= set(chosen)
    assert len(set(chosen)) == 3


def test_the_bank_knows_its_own_patches():
    bank = MemoryBank(4, 3)
    bank.projection = torch.randn(bank.projection.shape[0], 3)
    patches = torch.randn(1, 1152, 2, 2)
    bank.bank = bank.embed(patches).reshape(4, 3)
    assert bank(patches).max() < 1e-2
    assert bank(patches + 5).min() > 1


def test_too_many_patches_for_the_smallest_picture_are_refused():
    with pytest.raises(ValueError, match="top"):
        Config(top=37)
