"""Four measurements in, a probability out; needs only the bundle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, Field

from common.bundle import Bundle
from common.config import Strict


class Tumour(Strict):
    """One request. `Strict` refuses unknown fields."""

    radius: float = Field(gt=0, le=100, description="mean radius")
    texture: float = Field(ge=0, le=100, description="standard deviation of grey values")
    smoothness: float = Field(ge=0, le=1, description="local variation of the radius")
    area: float = Field(gt=0, le=10_000, description="mean area")


class Answer(BaseModel):
    """One answer."""

    malignant: bool
    probability: float


class TumourPredictor:
    """All that serving knows of this system."""

    request, response = Tumour, Answer

    def __init__(self, fields: list[str], weight: list[float], intercept: float) -> None:
        self.fields, self.weight, self.intercept = fields, weight, intercept

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        """Build the predictor from a verified bundle."""
        arrays = bundle.arrays("model.safetensors")
        return cls(bundle.json("preprocess.json")["fields"], arrays["weight"].tolist(), float(arrays["intercept"][0]))

    def predict(self, batch: Sequence[Tumour]) -> list[Answer]:
        """Row by row: a matrix product may round a row differently alone and in a batch."""
        return [self._answer(request) for request in batch]

    def _answer(self, request: Tumour) -> Answer:
        terms = (weight * getattr(request, field) for field, weight in zip(self.fields, self.weight, strict=True))
        probability = 1 / (1 + math.exp(-sum(terms, self.intercept)))
        return Answer(malignant=probability >= 0.5, probability=round(probability, 6))
