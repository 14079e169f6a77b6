"""What can be set for visual inspection, and the presets.

sample     simulated tiles, no file needed, about half a minute
reference  magnetic tiles, ImageNet backbone, about 40 min; bench: three protocols, an hour and a half on two cores
speed      the same with hardly any training; bench: pictures per second and memory
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from common.config import Strict
from common.training.loop import Optimisation
from common.training.pretraining import Pretraining
from common.vision.mobilenet import ID

OWN = "own"
"""The backbone that learns from the good parts themselves."""
Protocol = Literal["published-split", "tile-disjoint", "labelled"]
Detector = Literal["bank", "gaussian", "reconstruction", "supervised", "synthetic", "template"]


class CropSettings(Strict):
    """Crops of good parts, most of them with a defect, that nets learn from."""

    count: int = Field(4800, ge=32, description="an epoch")
    side: int = Field(128, ge=32, multiple_of=16, description="pixels")
    defective: float = Field(0.6, gt=0, lt=1, description="share that gets a defect")


class BankSettings(Strict):
    """The memory bank: constant memory whatever the number of good parts."""

    size: int = Field(60_000, ge=10, description="patches remembered, in equal blocks by fold")
    candidates: int = Field(60_000, ge=10, description="patches that they are chosen from")
    dimensions: int = Field(32, ge=1, description="principal components")


class GaussianSettings(Strict):
    """The Gaussian of patches."""

    patches: int = Field(40_000, ge=10, description="that it is fitted to")
    dimensions: int = Field(512, ge=1, description="channels that are used, at most")


class TileSettings(Strict):
    """A picture with more than `side` x `side` pixels after scaling goes through the network in such tiles."""

    side: int = Field(1024, ge=256, multiple_of=16, description="pixels")
    overlap: int = Field(288, ge=0, multiple_of=16, description="pixels that neighbours share")


class Config(Strict):
    """One training run."""

    dataset: str = Field("magnetic-tile", min_length=1, description="or tiles-simulated, or a folder, tar or zip")
    protocol: Protocol = Field("tile-disjoint", description="how the test part is cut off")
    seed: int = 0
    parts: int = Field(60, ge=10, description="tiles to simulate, two exposures each; published data is used whole")
    detectors: tuple[Detector, ...] = Field(("synthetic", "bank"), min_length=1, description="scores are added")
    backbone: str = Field(ID, description="that, random, own (pre-trained on the good parts) or torchvision's name")
    scale: float = Field(1.0, gt=0, le=2, description="pictures are resized by this, their shape is kept")
    folds: int = Field(
        3, ge=2, le=10, description="of the good parts: a detector learns without each, and is set by it"
    )
    false_alarms_per_1000: float = Field(50, gt=0, lt=1000, description="promised: at most so many good parts alarm")
    crops: CropSettings = CropSettings()
    thaw: bool = Field(True, description="train the segmenter's backbone along, but for its finest layers")
    segmenter: Optimisation = Optimisation(epochs=12, learning_rate=2e-3, backbone_rate=0.3)
    reconstruction: Optimisation = Optimisation(epochs=2, learning_rate=2e-3)
    bank: BankSettings = BankSettings()
    gaussian: GaussianSettings = GaussianSettings()
    pretraining: Pretraining = Pretraining()
    tiles: TileSettings = TileSettings()
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
        "false_alarms_per_1000": 100,
        "crops": {"count": 320, "side": 64},
        "detectors": ("synthetic",),
        "thaw": False,
        "segmenter": {"epochs": 12, "batch": 16, "learning_rate": 5e-3},
        "bank": {"size": 300, "candidates": 2000},
        "gaussian": {"patches": 2000, "dimensions": 64},
    },
    "reference": {},
    # Time and memory do not depend on what was learnt.
    "speed": {"crops": {"count": 64}, "segmenter": {"epochs": 1}},
}
