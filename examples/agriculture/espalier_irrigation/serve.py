"""One row or many in, probabilities out; needs only the bundle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, create_model

from common.bundle import Bundle
from common.config import Strict
from espalier_irrigation.data import FEATURES
from espalier_irrigation.model import Model

# One typed, bounded entry per input; `Strict` refuses any other.
ENTRIES: dict[str, Any] = {
    name: (
        Annotated[float, Field(ge=feature.minimum, le=feature.maximum, allow_inf_nan=False)],
        Field(description=feature.label),
    )
    for name, feature in FEATURES.items()
}
Row: type[Strict] = create_model("Row", __base__=Strict, __doc__="One request.", **ENTRIES)


class Answer(BaseModel):
    """One answer."""

    needs_water: bool
    probability: float = Field(description="of drought stress within three days")
    simulated: bool = Field(description="true: trained on simulated data, not for real decisions")


class IrrigationPredictor:
    """All that serving knows of this system."""

    request, response = Row, Answer
    inline = True  # microseconds a row: cheaper than waking another thread

    def __init__(self, model: Model, features: list[str], simulated: bool) -> None:
        self.model, self.features, self.simulated = model, features, simulated

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        """Build the predictor from a verified bundle."""
        arrays = bundle.arrays("model.safetensors")
        model = Model(tuple(arrays["weight"].tolist()), float(arrays["intercept"][0]))
        return cls(model, bundle.json("preprocess.json")["features"], bundle.manifest.simulated)

    def predict(self, batch: Sequence[BaseModel]) -> list[Answer]:
        """Answers in the order of the batch."""
        return [self._answer(request) for request in batch]

    def _answer(self, request: BaseModel) -> Answer:
        p = self.model.probability([getattr(request, name) for name in self.features])
        return Answer(needs_water=p >= 0.5, probability=round(p, 6), simulated=self.simulated)
