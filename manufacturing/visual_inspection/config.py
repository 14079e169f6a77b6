"""What can be set for visual inspection, and the presets.

sample     simulated tiles, no file needed, about 15 s
reference  magnetic tiles, ImageNet backbone, about ten minutes of processor time; bench: both splits
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from common.config import Strict
from common.training.loop import Optimisation

Protocol = Literal["published-split", "tile-disjoint"]


class Crops(Strict):
    """Crops of good parts, most of them with a synthetic defect, that teach the segmenter."""

    count: int = Field(1600, ge=32, multiple_of=16)
    side: int = Field(128, ge=32, multiple_of=16, description="pixels")
    defective: float = Field(0.65, gt=0, lt=1, description="share that gets a defect")


class Bank(Strict):
    """The memory bank: constant memory whatever the number of good parts."""

    size: int = Field(3000, ge=1, description="patches remembered")
    candidates: int = Field(30_000, ge=1, description="patches that the coreset is chosen from")
    dimensions: int = Field(128, ge=1, description="of the random projection")


class Tiles(Strict):
    """A picture with more than `side` x `side` pixels after scaling goes through the network in such tiles."""

    side: int = Field(1024, ge=256, multiple_of=16, description="pixels")
    overlap: int = Field(288, ge=0, multiple_of=16, description="pixels that neighbours share")


class Config(Strict):
    """One training run."""

    dataset: Literal["magnetic-tile", "tiles-simulated"] = "magnetic-tile"
    protocol: Protocol = Field("tile-disjoint", description="how the test part is cut off")
    seed: int = 0
    parts: int = Field(60, ge=10, description="tiles to simulate, two exposures each; published data is used whole")
    backbone: Literal["mobilenet-v1", "random"] = "mobilenet-v1"
    scale: float = Field(0.8, gt=0, le=2, description="pictures are resized by this, their shape is kept")
    held_back: float = Field(0.2, gt=0, lt=1, description="share of good parts kept for calibration")
    false_alarms_per_1000: float = Field(50, gt=0, lt=1000, description="promised: at most so many good parts alarm")
    top: int = Field(10, ge=1, le=36, description="patches whose mean is the score of a picture")
    crops: Crops = Crops()
    segmenter: Optimisation = Optimisation(epochs=4)
    bank: Bank = Bank()
    tiles: Tiles = Tiles()
    base: str = Field("", description="bundle to update by feedback, instead of training: a folder or models:/...")
    feedback: str = Field("", description="folder with false_alarm/ and missed/, or `audit`: labelled decisions")
    regression: str = Field("audit", description="pictures that old and new must decide: a folder, or those on record")
    regression_decisions: int = Field(1000, ge=0, description="latest decisions on record that are decided again")
    feedback_false_alarms_per_1000: float | None = Field(
        None, gt=0, lt=1000, description="weakest promise that missed defects may bring; default: twice the base's"
    )

    @model_validator(mode="after")
    def _feedback_has_a_base(self) -> Self:
        if bool(self.base) != bool(self.feedback):
            raise ValueError("base and feedback together, or neither")
        return self


PRESETS: dict[str, dict[str, Any]] = {
    "sample": {
        "dataset": "tiles-simulated",
        "backbone": "random",
        "parts": 60,
        "false_alarms_per_1000": 100,  # a dozen good parts can promise no less
        "crops": {"count": 320, "side": 64},
        "segmenter": {"epochs": 8, "batch": 16},
        "bank": {"size": 300, "candidates": 2000, "dimensions": 64},
    },
    "reference": {},
}
