from __future__ import annotations

import numpy as np
import pytest
import torch

from common.vision.images import resized
from manufacturing.visual_inspection.evaluate import restored
from manufacturing.visual_inspection.fit import as_tensor, score


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
