"""What can be set for customer service, and the presets.

sample     simulated customers of a bank in English and Chinese, n-grams, offline, about 20 s
reference  our intents from BANKING77 and simulated customers in English, simulated ones in Chinese; an encoder: 10 min
banking    BANKING77's own 77 intents beside simulated Chinese: 5 min
clinc      CLINC150's own 150 intents, and requests that are none of them, beside simulated Chinese
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from common.config import Strict
from common.text.ngrams import Grams
from finance.customer_service.model import Kernel
from finance.customer_service.simulator import SIMULATED


class Refusal(Strict):
    """What is promised of requests that none of the intents answers."""

    recall: float = Field(
        0.85, gt=0, lt=1, description="promised: how many of a new kind are refused, in each language"
    )
    folds: int = Field(5, ge=2, description="of kinds that are left out of training in turn, to keep the promise")
    coverage: float = Field(0.9, gt=0.5, lt=1, description="how often the intents of a question hold the one meant")
    most_asked: int = Field(3, ge=2, description="intents that a clarifying question may name")


class Tuned(Strict):
    """How an encoder is tuned, with `full` or `lora`: for the model, and again for each fold of the promise."""

    epochs: int = Field(4, ge=1)
    learning_rate: float = Field(1.5e-3, gt=0, description="of the head; the encoder's is a tenth")
    outliers: float = Field(0.3, ge=0, description="weight of mixed vectors, where there is a class for out of scope")
    repeat: int = Field(5, ge=1, description="how often texts out of scope are shown in an epoch")


class Config(Strict):
    """One training run."""

    dataset: str = Field(SIMULATED, min_length=1, description="or service-banking77, service-clinc150, a CSV or JSONL")
    chinese: str = Field("", description="data set of the Chinese utterances, where `dataset` has none")
    tasks: bool = Field(
        False,
        description="learn our intents: those of a published `dataset` that stand for one of them (tasks.toml), beside "
        "simulated English; its other intents are out of scope",
    )
    seed: int = 0
    model: Literal["ngram", "frozen", "full", "lora"] = Field(
        "ngram", description="n-grams alone, with a frozen encoder, or with the same encoder tuned whole or by LoRA too"
    )
    backbone: str = Field("sentence-transformers/all-MiniLM-L6-v2", description="hub id of the encoder")
    encoder_languages: tuple[Literal["en", "zh"], ...] = Field(("en",), description="that the backbone can read")
    size: int = Field(256, ge=2, description="principal directions of the encoder's layers that are kept")
    tuning: Tuned = Tuned()
    kernel: Kernel = Kernel()
    grams: Grams = Grams()
    c: float = Field(0.5, gt=0, description="inverse penalty of n-grams alone (scikit-learn's C)")
    refusal: Refusal = Refusal()


PRESETS: dict[str, dict[str, Any]] = {
    "sample": {},
    "reference": {"dataset": "service-banking77", "chinese": SIMULATED, "model": "frozen", "tasks": True},
    "banking": {"dataset": "service-banking77", "chinese": SIMULATED, "model": "frozen"},
    "clinc": {"dataset": "service-clinc150", "chinese": SIMULATED, "model": "frozen"},
}
