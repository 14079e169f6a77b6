"""One picture in; score, verdict, heat map and the state of the light out. Needs ONNX Runtime and no torch."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
import onnxruntime
from fastapi import APIRouter
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from common.bundle import Bundle
from common.config import Strict
from common.errors import InvalidRequest, UsageError
from common.evaluation.conformal import Calibration
from common.provenance import cores
from common.vision.images import MOST_BYTES, decode_grey, from_base64, png, resized, standardised, to_base64
from common.vision.quality import is_usual, quality
from common.vision.tiling import tiled
from manufacturing.visual_inspection.promise import Promises, measured, table
from manufacturing.visual_inspection.upright import Upright

MOST_TEXT = 4 * MOST_BYTES // 3 + 4
"""Characters of base64."""
WORKERS = min(4, cores())
"""Tiles of a large picture that are looked at side by side; with a bank of 60,000 patches each takes 1 GB."""
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
    any_way_up: bool = Field(False, description="Any way up: a part that seems upside down is inspected all the same")


class Verdict(BaseModel):
    """The answer for one part."""

    model_config = ConfigDict(protected_namespaces=())

    defective: bool
    score: float = Field(description="deviations above the average good part, of all detectors together")
    threshold: float = Field(description="an alarm is raised above this score")
    false_alarms_per_1000: float = Field(description="the promise that the threshold keeps")
    light: Literal["usual", "unusual"] = Field(
        description="unusual: brightness or contrast lie beyond those of the good parts, so the promise does not hold"
    )
    brightness: float = Field(description="mean grey value, 0 to 255")
    contrast: float = Field(description="deviation of the grey values")
    sharpness: float = Field(description="variance of the Laplacian over that of the picture; a blurred lens lowers it")
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
    body_bytes = MOST_TEXT
    deadline_s = 18.0  # SIGTERM waits 20 s
    # Kernels differ between processors in the sixth digit; the map is made of the same numbers.
    tolerance = 1e-4
    approximate = frozenset({"heat_map"})

    def __init__(
        self,
        graphs: Mapping[str, bytes],
        calibration: Calibration,
        kept: Mapping[str, Any],
        version: str,
        simulated: bool,
    ) -> None:
        self.model, self.verdict = (_session(graphs[name]) for name in ("model.onnx", "verdict.onnx"))
        self.calibration = calibration
        self.scale, self.promised = kept["scale"], kept["false_alarms_per_1000"]
        self.tiles, self.light = kept["tiles"], kept["light"]
        self.upright = Upright.of(kept["upright"]) if kept["upright"] else None
        self.version, self.simulated = version, simulated

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        """Build the predictor from a verified bundle."""
        return cls(
            {name: bundle.read(name) for name in ("model.onnx", "verdict.onnx")},
            Calibration.of(bundle.arrays("calibration.safetensors")),
            bundle.json("preprocess.json"),
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
            return self.calibration.threshold(per_1000 / 1000)
        except UsageError:
            lowest = 1000 * self.calibration.lowest_rate
            raise InvalidRequest(
                f"{self.calibration.parts} good parts cannot promise so few false alarms",
                where="false_alarms_per_1000",
                got=f"{per_1000:g}",
                expected=f"at least {lowest:.3g}",
                fix="train with more good parts or promise less",
            ) from None

    def ready(self, picture: np.ndarray) -> np.ndarray:
        """The picture at the scale of the network, float32."""
        return resized(picture, self.scale)

    def measure(self, picture: np.ndarray, threshold: float = 0.0) -> tuple[float, bool, np.ndarray]:
        """Score, verdict and map (h, w) of a grey picture uint8 (height, width); one too large for a run goes in tiles.

        Standardised as a whole before it is cut, and judged by the maps joined: tiles change neither light nor verdict.
        """
        ready, limit = standardised(self.ready(picture)), np.array([threshold], np.float32)
        if ready.size <= self.tiles["side"] ** 2:
            asked = {"picture": ready[None, None], "threshold": limit}
            score, defective, heat = self.model.run(["score", "defective", "heat"], asked)
        else:

            def maps_of(tile: np.ndarray) -> np.ndarray:
                return self.model.run(["maps"], {"picture": tile[None, None], "threshold": limit})[0][0]

            asked = {"maps": tiled(ready, maps_of, **self.tiles, workers=WORKERS)[None], "threshold": limit}
            score, defective, heat = self.verdict.run(["score", "defective", "heat"], asked)
        return float(score[0]), bool(defective[0]), heat[0]

    def _inspect(self, request: Inspection) -> Verdict:
        picture = decode_grey(from_base64(request.picture, "picture"), "picture")
        if self.upright and not request.any_way_up and (turns := self.upright.turned(picture)):
            raise InvalidRequest(
                "the part seems to be upside down" if turns == 2 else "the part seems to lie on its side",
                where="picture",
                fix="turn it, or say any_way_up if it is meant so",
            )
        promised = self.promised if request.false_alarms_per_1000 is None else request.false_alarms_per_1000
        threshold = self.threshold(promised)
        score, defective, heat = self.measure(picture, threshold)
        light = quality(picture)
        return Verdict(
            defective=defective,
            score=score,
            threshold=threshold,
            false_alarms_per_1000=promised,
            light="usual" if is_usual(light, self.light) else "unusual",
            **light,
            heat_map=to_base64(png(paint(heat, picture.shape, threshold))),
            model=self.version,
            simulated=self.simulated,
        )

    @classmethod
    def routes(cls, predictor: Callable[[], InspectionPredictor]) -> APIRouter:
        """`GET promise`: what can be promised at which threshold, and what has come true."""
        router = APIRouter()

        @router.get(
            "/promise", summary="Promises and their thresholds, and the rate of false alarms told by operators."
        )
        async def promise() -> Promises:
            current = predictor()
            told = await to_thread(measured, current.version)
            return table(current.calibration, current.promised, told)

        return router


def _session(graph: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the same sums in the same order on every machine; requests run side by side
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


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
