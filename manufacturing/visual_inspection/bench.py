"""The reference benchmark: the published split, the same test without the tiles that training shows too, and a test on
half of all tiles after training on the other half with its labels. Two protocols at a time, one core each."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context

import torch

from common.evaluation.report import Report, Seconds
from common.progress import bar
from common.provenance import cores
from manufacturing.visual_inspection.config import Config, Detector, Protocol
from manufacturing.visual_inspection.data import load
from manufacturing.visual_inspection.evaluate import assess, look
from manufacturing.visual_inspection.fit import fit
from manufacturing.visual_inspection.speed import speed

ROWS: dict[Protocol, tuple[Detector, ...]] = {
    "published-split": ("gaussian", "template"),
    "tile-disjoint": ("gaussian", "template", "reconstruction"),
    "labelled": (),
}
"""Protocols, and the detectors that stand beside ours as baselines; a reconstruction takes minutes to fit."""


def bench(config: Config, preset: str) -> list[Report]:
    """One report per protocol; the preset `speed` measures time and memory instead."""
    if preset == "speed":
        return [speed(config)]
    found = []
    spawn = get_context("spawn")
    with ProcessPoolExecutor(min(len(ROWS), cores()), spawn) as pool, bar("protocols", len(ROWS)) as advance:
        for report in pool.map(_report, repeat(config), repeat(preset), ROWS):
            found.append(report)
            advance(1, report.protocol)
    return found


def _report(config: Config, preset: str, protocol: Protocol) -> Report:
    torch.set_num_threads(1)  # two steps side by side on one core each take less time than one after the other on two
    started = time.perf_counter()
    detectors: tuple[Detector, ...] = ("supervised", "bank") if protocol == "labelled" else config.detectors
    config = config.model_copy(update={"protocol": protocol, "detectors": detectors})
    split = load(config).split(protocol, config.seed)
    loaded = time.perf_counter()
    fitted = fit(config, split["train"])
    trained = time.perf_counter()
    others = ROWS[protocol]
    rivals = fit(config.model_copy(update={"detectors": others}), split["train"]) if others else None
    began = time.perf_counter()
    seen = look(config, fitted, split, rivals)
    seconds = Seconds(data=loaded - started, train=trained - loaded, evaluate=time.perf_counter() - began)
    return assess(config, fitted, split, seen, preset, seconds)
