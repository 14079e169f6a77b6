"""The reference benchmark: published protocols, and what refusal keeps of its promise."""

from __future__ import annotations

from common.evaluation.report import Report
from finance.customer_service.config import Config
from finance.customer_service.evaluate import evaluate
from finance.customer_service.train import train


def bench(config: Config, preset: str) -> list[Report]:
    """One report per data set and protocol."""
    return [evaluate(train(config))[0].model_copy(update={"preset": preset})]
