"""Answers from chest X-rays: needs ONNX Runtime and Pillow, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import onnxruntime
from PIL import Image
from pydantic import BaseModel, Field

from common.bundle import Bundle
from common.errors import InvalidRequest
from common.vision.images import from_base64, png, to_base64
from healthcare.disease_diagnosis.answer import Diagnosis, promised, request_type
from healthcare.disease_diagnosis.inputs import FORMATS, chest_of
from healthcare.disease_diagnosis.promise import Site
from healthcare.disease_diagnosis.typical import Typical

MOST_TEXT = 43_000_000
"""Characters of base64."""
SHOWN = 112
"""Side of a heat map, pixels."""
STRONGEST = 6.0
"""Log-odds at which a cell has its full colour: red speaks for disease, blue against it."""

Picture = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MOST_TEXT,
        description=f"Frontal chest X-ray, grey, right way up: {FORMATS}",
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/png"},
    ),
]
MEANT = Field(False, description="Answer also for what does not look like a frontal chest X-ray")
ENTRIES: dict[str, Any] = {"picture": (Picture, ...), "any_picture": (bool, MEANT)}


class PictureEngine:
    """Loads the exported ensemble of a bundle and answers one picture after the other: N alone equal N together."""

    def __init__(self, bundle: Bundle, common: Mapping[str, Any]) -> None:
        kept, sites = bundle.json("preprocess.json"), bundle.arrays("sites.safetensors")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the same sums in the same order; requests run side by side
        graph = bundle.read("model.onnx")
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.common = {"also": [], "reasons": [], "tests": [], **common}
        self.side: int = kept["side"]
        self.findings: list[str] = kept["findings"]
        self.threshold: float = kept["threshold"]
        self.coverage: float = kept["coverage"]
        self.sites = {name: Site.of(name, sites, group) for name, group in kept["sites"].items()}
        self.home = next(iter(self.sites))
        self.typical = Typical.of(bundle.arrays("typical.safetensors"))
        self.request = request_type("ChestXRay", "One chest X-ray.", ENTRIES, bundle)

    def request_of(self, content: bytes) -> BaseModel:
        """The request for a file."""
        request: BaseModel = self.request(picture=to_base64(content))
        return request

    def answers(self, batch: Sequence[BaseModel]) -> list[Diagnosis]:
        """Diagnoses in the order of the batch. Raises `InvalidRequest` naming the field."""
        return [self._answer(request.__dict__) for request in batch]

    def _answer(self, record: Mapping[str, Any]) -> Diagnosis:
        picture = chest_of(from_base64(record["picture"], "picture"), "picture", self.side)
        typical = float(self.typical.p_value(picture[None])[0])
        if not record["any_picture"] and self.typical.refused(picture[None])[0]:
            done = self.typical.remedy(picture)
            raise InvalidRequest(
                f"the chest X-ray seems to be {done}" if done else "this does not look like a frontal chest X-ray",
                where="picture",
                got=f"less usual than {1 - typical:.1%} of chest X-rays",
                fix="send it as a radiologist reads it, or say any_picture if it is meant so",
            )
        raw, evidence = self.measure(picture)
        site = self.sites[self.home]
        chances = site.chances(np.array([[raw]]), np.zeros(1, int))[0]
        coverage = record["coverage"] or self.coverage
        verdict = promised(self.findings, chances, site, self.home, 0, "", coverage, self.threshold)
        heat_map = to_base64(png(painted(picture, evidence)))
        return Diagnosis(**verdict.__dict__, typical=typical, heat_map=heat_map, **self.common)

    def measure(self, picture: np.ndarray) -> tuple[float, np.ndarray]:
        """Log-odds and evidence (7, 7) of a picture uint8 (28, 28)."""
        asked = {"picture": picture[None, None].astype(np.float32) / 255}
        raw, evidence = self.session.run(["log_odds", "evidence"], asked)
        return float(raw[0]), evidence[0]


def painted(picture: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """The picture uint8 (h, w) with its evidence (7, 7), log-odds, as colours uint8 (SHOWN, SHOWN, 3)."""
    size = SHOWN, SHOWN
    grey = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC), float)
    level = np.clip(evidence / STRONGEST, -1, 1).astype(np.float32)
    wide = np.asarray(Image.fromarray(level).resize(size, Image.Resampling.BILINEAR), float)[..., None]
    colour = np.where(wide > 0, [220.0, 40.0, 40.0], [40.0, 90.0, 220.0])
    opacity = 0.5 * np.abs(wide)
    return np.asarray(grey[..., None] * (1 - opacity) + colour * opacity).round().astype(np.uint8)
