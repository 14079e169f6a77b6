"""One picture in; score, verdict and heat map out. Needs ONNX Runtime and no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Self

import numpy as np
import onnxruntime
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from common.bundle import Bundle
from common.config import Strict
from common.errors import InvalidRequest, UsageError
from common.evaluation.conformal import lowest_rate, threshold_for
from common.vision.images import MOST_BYTES, decode_grey, from_base64, png, resized, to_base64

MOST_TEXT = 4 * MOST_BYTES // 3 + 4
SHOWN = 512
"""Longest side of a heat map, in pixels."""
PALETTE = np.array([[0, 0, 0], [60, 10, 110], [190, 40, 80], [250, 150, 10], [255, 255, 180]], float)
"""From normal to clearly defective."""

Picture = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MOST_TEXT,
        description="Picture of the part, grey or colour, 8 bits, right way up",
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/png"},
    ),
]


class Inspection(Strict):
    """One part to inspect."""

    picture: Picture
    false_alarms_per_1000: float | None = Field(
        None, gt=0, lt=1000, description="Promise: false alarms per 1,000 good parts, at most"
    )


class Verdict(BaseModel):
    """The answer for one part."""

    model_config = ConfigDict(protected_namespaces=())

    defective: bool
    score: float = Field(description="deviations above the average good part, of two detectors together")
    threshold: float = Field(description="an alarm is raised above this score")
    false_alarms_per_1000: float = Field(description="the promise that the threshold keeps")
    heat_map: str = Field(
        description="where it looks defective",
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/png"},
    )
    model: str = Field(description="version of the bundle that answered")
    simulated: bool = Field(description="true: trained on simulated parts, not for real decisions")


class InspectionPredictor:
    """Runs the exported detector, picture by picture: they differ in size."""

    request = Inspection
    response = Verdict
    # Kernels differ between processors in the sixth digit; the map is made of the same numbers.
    tolerance = 1e-4
    approximate = frozenset({"heat_map"})

    def __init__(
        self, model: bytes, calibration: np.ndarray, scale: float, promised: float, version: str, simulated: bool
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the same sums in the same order on every machine; requests run side by side
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.calibration, self.scale, self.promised = calibration, scale, promised
        self.version, self.simulated = version, simulated

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        """Build the predictor from a verified bundle."""
        kept = bundle.json("preprocess.json")
        return cls(
            bundle.read("model.onnx"),
            bundle.arrays("calibration.safetensors")["score"],
            kept["scale"],
            kept["false_alarms_per_1000"],
            bundle.manifest.version,
            bundle.manifest.simulated,
        )

    def predict(self, batch: Sequence[Inspection]) -> list[Verdict]:
        """Verdicts in the order of the batch. Raises `InvalidRequest` naming the field."""
        return [self._inspect(request) for request in batch]

    def request_of(self, content: bytes) -> Inspection:
        """The request for a picture in a file."""
        return Inspection(picture=to_base64(content))

    def threshold(self, per_1000: float) -> float:
        """The score above which at most so many of 1,000 good parts lie."""
        try:
            return threshold_for(self.calibration, per_1000 / 1000)
        except UsageError:
            lowest = 1000 * lowest_rate(len(self.calibration))
            raise InvalidRequest(
                f"{len(self.calibration)} good parts cannot promise so few false alarms",
                where="false_alarms_per_1000",
                got=f"{per_1000:g}",
                expected=f"at least {lowest:.3g}",
                fix="train with more good parts or promise less",
            ) from None

    def measure(self, picture: np.ndarray, threshold: float = 0.0) -> tuple[float, bool, np.ndarray]:
        """Score, verdict and map (h, w) of a grey picture uint8 (height, width)."""
        inputs = {
            "picture": resized(picture, self.scale)[None, None],
            "threshold": np.array([threshold], np.float32),
        }
        score, defective, heat = self.session.run(None, inputs)
        return float(score[0]), bool(defective[0]), heat[0]

    def _inspect(self, request: Inspection) -> Verdict:
        picture = decode_grey(from_base64(request.picture, "picture"), "picture")
        promised = self.promised if request.false_alarms_per_1000 is None else request.false_alarms_per_1000
        threshold = self.threshold(promised)
        score, defective, heat = self.measure(picture, threshold)
        return Verdict(
            defective=defective,
            score=score,
            threshold=threshold,
            false_alarms_per_1000=promised,
            heat_map=to_base64(png(paint(heat, picture.shape, threshold))),
            model=self.version,
            simulated=self.simulated,
        )


def paint(heat: np.ndarray, shape: tuple[int, ...], threshold: float) -> np.ndarray:
    """The map as colours uint8 (height, width, 3) in the picture's shape; a patch at the threshold has half of them."""
    height, width = shape[0], shape[1]
    shrink = min(1.0, SHOWN / max(height, width))
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    level = np.clip(heat / (2 * max(threshold, 1.0)), 0, 1).astype(np.float32)
    wide = np.asarray(Image.fromarray(level).resize(size, Image.Resampling.BILINEAR))
    place = wide * (len(PALETTE) - 1)
    channels: list[Any] = [np.interp(place, range(len(PALETTE)), PALETTE[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)
