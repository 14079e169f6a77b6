"""The reference benchmark: the published split, the same test without the tiles that training shows too, and a test on
half of all tiles after training on the other half with its labels."""

from __future__ import annotations

import time

from common.evaluation.report import Report, Seconds
from manufacturing.visual_inspection.config import Config, Detector, Protocol
from manufacturing.visual_inspection.data import load
from manufacturing.visual_inspection.evaluate import assess, look
from manufacturing.visual_inspection.fit import fit

ROWS: tuple[tuple[Protocol, tuple[Detector, ...]], ...] = (
    ("published-split", ("bank", "template")),
    ("tile-disjoint", ("bank", "template", "reconstruction")),
    ("labelled", ()),
)
"""Protocols, and the detectors that stand beside ours as baselines; a reconstruction takes minutes to fit."""


def bench(config: Config, preset: str) -> list[Report]:
    """One report per protocol."""
    return [_report(config, preset, protocol, others) for protocol, others in ROWS]


def _report(config: Config, preset: str, protocol: Protocol, others: tuple[Detector, ...]) -> Report:
    started = time.perf_counter()
    detectors: tuple[Detector, ...] = ("supervised", "gaussian") if protocol == "labelled" else config.detectors
    config = config.model_copy(update={"protocol": protocol, "detectors": detectors})
    split = load(config).split(protocol, config.held_back, config.seed)
    loaded = time.perf_counter()
    fitted = fit(config, split["train"], split["valid"])
    trained = time.perf_counter()
    rivals = fit(config.model_copy(update={"detectors": others}), split["train"], split["valid"]) if others else None
    began = time.perf_counter()
    seen = look(config, fitted, split, rivals)
    seconds = Seconds(data=loaded - started, train=trained - loaded, evaluate=time.perf_counter() - began)
    return assess(config, fitted, split, seen, preset, seconds)
