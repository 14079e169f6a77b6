from __future__ import annotations

import numpy as np
import pytest
import torch

from common.vision.images import resized
from manufacturing.visual_inspection.evaluate import restored
from manufacturing.visual_inspection.fit import held_parts, held_score, score
from manufacturing.visual_inspection.learn import as_tensor


def test_onnx_runtime_and_torch_give_the_same_scores_and_maps(config, bundle, predictor, split):
    inspector = restored(bundle, config)
    for picture in split["test"].picture[:5]:
        ready = resized(picture, config.scale)
        found, _, heat = predictor.measure(picture)
        assert found == pytest.approx(score(inspector, ready), abs=1e-4)
        with torch.inference_mode():
            expected = inspector(as_tensor(ready), torch.zeros(1))[2][0].numpy()
        assert np.abs(heat - expected).max() < 1e-3


def test_every_good_part_calibrates_by_the_member_that_has_not_seen_it(config, bundle, split):
    calibration = bundle.arrays("calibration.safetensors")
    held = held_parts(config, split["train"])
    assert calibration["part"].tolist() == [one.part for one in held]
    assert set(calibration["part"]) == set(split["train"].tile)
    inspector = restored(bundle, config)
    found = [held_score(inspector, one.picture, one.member) for one in held[:6]]
    assert calibration["score"][:6] == pytest.approx(found, abs=1e-4)
    assert bundle.json("metrics.json")["threshold"] in calibration["score"]
    assert bundle.json("metrics.json")["valid_good_parts"] == len(np.unique(split["train"].tile))


def test_a_backbone_of_ones_own_learns_from_half_of_the_parts_and_the_others_calibrate(config, split):
    own = config.model_copy(update={"backbone": "own"})
    tiles = {one.part for one in held_parts(own, split["train"])}
    assert len(tiles) == len(set(split["train"].tile)) // 2
