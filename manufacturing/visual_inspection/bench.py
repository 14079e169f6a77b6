"""The reference benchmark: the published split, the same test without the tiles that training shows too, and a test on
half of all tiles after training on the other half with its labels. Two protocols at a time, one core each."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from typing import Any

import torch

from common.evaluation.report import Report, Seconds
from common.progress import bar
from common.provenance import cores
from manufacturing.visual_inspection.config import BankSettings, Config, Detector, Protocol
from manufacturing.visual_inspection.data import load
from manufacturing.visual_inspection.evaluate import assess, look
from manufacturing.visual_inspection.fit import fit
from manufacturing.visual_inspection.speed import speed

SETTINGS: dict[Protocol, dict[str, Any]] = {
    # Like the published numbers, the memory alone: this protocol asks whether a tile was seen before. Held-out pictures
    # of known training tiles against new ones with synthetic defects, whole and faded to a quarter: AUROC .997 and .907
    # with 60,000 patches and 3 folds, 1.000 and .977 with these.
    "published-split": {
        "detectors": ("bank",),
        "folds": 10,
        "bank": BankSettings(size=190_000, candidates=190_000, dimensions=64),
    },
    "tile-disjoint": {},
    "labelled": {"detectors": ("supervised", "bank")},
}
"""Protocols, and what is set otherwise than by default."""
RIVALS: dict[Protocol, tuple[Detector, ...]] = {
    "published-split": ("gaussian", "template"),
    "tile-disjoint": ("gaussian", "template", "reconstruction"),
    "labelled": (),
}
"""The detectors that stand beside ours as baselines; a reconstruction takes minutes to fit."""


def bench(config: Config, preset: str) -> list[Report]:
    """One report per protocol; the preset `speed` measures time and memory instead."""
    if preset == "speed":
        return [speed(config)]
    found = []
    spawn = get_context("spawn")
    with ProcessPoolExecutor(min(len(RIVALS), cores()), spawn) as pool, bar("protocols", len(RIVALS)) as advance:
        for report in pool.map(_report, repeat(config), repeat(preset), RIVALS):
            found.append(report)
            advance(1, report.protocol)
    return found


def _report(config: Config, preset: str, protocol: Protocol) -> Report:
    torch.set_num_threads(1)  # two steps side by side on one core each take less time than one after the other on two
    started = time.perf_counter()
    config = config.model_copy(update={"protocol": protocol, **SETTINGS[protocol]})
    split = load(config).split(protocol, config.seed)
    loaded = time.perf_counter()
    fitted = fit(config, split["train"])
    trained = time.perf_counter()
    others = RIVALS[protocol]
    rivals = fit(config.model_copy(update={"detectors": others}), split["train"]) if others else None
    began = time.perf_counter()
    seen = look(config, fitted, split, rivals)
    seconds = Seconds(data=loaded - started, train=trained - loaded, evaluate=time.perf_counter() - began)
    return assess(config, fitted, split, seen, preset, seconds)
