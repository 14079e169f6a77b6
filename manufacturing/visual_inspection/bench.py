"""The reference benchmark: the published split, and the same test with every tile it shows taken out of training."""

from __future__ import annotations

import time

from common.evaluation.report import Report, Seconds
from manufacturing.visual_inspection.config import Config, Protocol
from manufacturing.visual_inspection.data import load
from manufacturing.visual_inspection.evaluate import assess
from manufacturing.visual_inspection.train import fit

PROTOCOLS: tuple[Protocol, ...] = ("published-split", "tile-disjoint")


def bench(config: Config, preset: str) -> list[Report]:
    """One report per split."""
    return [_report(config.model_copy(update={"protocol": protocol}), preset) for protocol in PROTOCOLS]


def _report(config: Config, preset: str) -> Report:
    started = time.perf_counter()
    split = load(config).split(config.protocol, config.held_back, config.seed)
    loaded = time.perf_counter()
    fitted = fit(config, split["train"], split["valid"])
    seconds = Seconds(data=loaded - started, train=time.perf_counter() - loaded, evaluate=0.0)
    return assess(config, fitted, split, preset, seconds)
