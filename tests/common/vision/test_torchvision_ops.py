"""In a process of its own: what is declared once stays for the whole process."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("torch", exc_type=ImportError)

USE = """
import torch
from common.vision.torchvision_ops import DECLARED, models, v2
from torchvision import datasets, extension, tv_tensors, utils
assert (DECLARED is None) == extension._has_ops()
boxes = tv_tensors.BoundingBoxes([[0, 0, 4, 4]], format="XYXY", canvas_size=(8, 8))
picture, boxes = v2.Compose([v2.RandomHorizontalFlip(p=1), v2.Resize(32)])(torch.rand(3, 8, 8), boxes)
print(tuple(models.get_model("shufflenet_v2_x0_5").eval()(picture[None]).shape), boxes.tolist())
"""


def test_torchvision_its_transforms_and_a_model_run():
    ended = subprocess.run([sys.executable, "-c", USE], capture_output=True, text=True)
    assert ended.stdout == "(1, 1000) [[16, 0, 32, 16]]\n", ended.stderr
