"""What can be set for medical records, and the presets.

sample     simulated notes in English and Chinese, small token models, offline, about 20 s
reference  diseases from the NCBI corpus and seven kinds of Chinese entities from cEHRNER, terms with codes from openly
           licensed tables, identifiers from synthetic sentences
accurate   the same with a fine-tuned transformer for English, which takes longer to train and to read
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from common.config import Strict
from healthcare.medical_records.deid.fit_tagger import Fitting
from healthcare.medical_records.ner import RECIPES, Recipe
from healthcare.medical_records.simulator import SIMULATED

PUBLISHED = "published"


_SMALL = Recipe(
    tagging={
        "unit": 32,
        "form": 16,
        "filters": 24,
        "hidden": 48,
        "dropout": 0.3,
        "forget": 0.3,
        "optimisation": {"epochs": 12, "batch": 16, "learning_rate": 8e-3, "largest_gradient": 1.0},
    }
)


class Identifiers(Strict):
    """How the tagger of what identifies a patient is fitted; the test part of its templates is left out."""

    variants: int = Field(6, ge=1, description="of every line of the simulator, differently filled in")
    refilled: int = Field(0, ge=0, description="variants of every training template of presidio-synth-pii; 0: none")
    plain: int = Field(1500, ge=0, description="sentences in which nothing identifies, of notes and corpora")
    fitting: Fitting = Fitting(epochs=3, clusters=(0, 0))


class Config(Strict):
    """One training run."""

    dataset: str = Field(
        SIMULATED, min_length=1, description="or `published`, or a JSONL of your own with text and entities"
    )
    seed: int = 0
    notes: int = Field(240, ge=20, description="to simulate, in each language")
    english: Recipe = _SMALL
    chinese: Recipe = _SMALL
    identifiers: Identifiers = Identifiers()


_REFERENCE: dict[str, Any] = {
    "dataset": PUBLISHED,
    "english": RECIPES["served"].model_dump(),
    "chinese": RECIPES["cehrner"].model_dump(),
    "identifiers": {"variants": 12, "refilled": 16, "plain": 800, "fitting": {"epochs": 3, "sure": 0.93}},
}
PRESETS: dict[str, dict[str, Any]] = {
    "sample": {},
    "reference": _REFERENCE,
    "accurate": _REFERENCE | {"english": RECIPES["ncbi-disease"].model_dump()},
}
