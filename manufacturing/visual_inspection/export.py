"""The detector as ONNX, which ONNX Runtime runs without torch, and as arrays, from which torch restores it."""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch
from torch import Tensor, nn

from manufacturing.visual_inspection.model import Inspector


class _Judge(nn.Module):
    """The last step alone, for maps that were joined from tiles."""

    def __init__(self, inspector: Inspector) -> None:
        super().__init__()
        self.inspector = inspector

    def forward(self, maps: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score, defective and heat of raw maps (1, detectors x members + 1, rows, columns)."""
        return self.inspector.judge(maps, threshold)


def export(inspector: Inspector) -> dict[str, bytes]:
    """The detector as ONNX, all for one picture.

    `model.onnx`: picture (1, 1, height, width), standardised, and threshold (1,) to score, defective, heat and maps.
    `verdict.onnx`: maps (1, detectors x members + 1, rows, columns) and threshold to score, defective and heat.
    """
    picture, threshold = torch.rand(1, 1, 64, 96) - 0.5, torch.zeros(1)
    with torch.no_grad():
        maps = inspector(picture, threshold)[-1]
    outputs = ["score", "defective", "heat"]
    sides = {"heat": {1: "rows", 2: "columns"}, "maps": {2: "rows", 3: "columns"}}
    return {
        "model.onnx": _onnx(
            inspector,
            {"picture": picture, "threshold": threshold},
            [*outputs, "maps"],
            sides | {"picture": {2: "height", 3: "width"}},
        ),
        "verdict.onnx": _onnx(_Judge(inspector).eval(), {"maps": maps, "threshold": threshold}, outputs, sides),
    }


def _onnx(module: nn.Module, inputs: dict[str, Tensor], outputs: list[str], sides: dict[str, dict[int, str]]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The newer exporter needs two more packages and writes source paths into the file.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            buffer,
            dynamo=False,
            opset_version=17,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=sides,
        )
    return buffer.getvalue()


def weights_of(inspector: Inspector) -> dict[str, np.ndarray]:
    """Every parameter and buffer by name."""
    return {name: value.numpy() for name, value in inspector.state_dict().items()}
