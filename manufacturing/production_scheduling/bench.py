"""The reference benchmark: gaps of published instances with plain CP-SAT beside ours, proofs, how fast plans come and
are mended, and what was learnt.

A run of ours takes both cores, and so does plain CP-SAT after it; every run is kept, so that a benchmark that was cut
goes on where it was. `reference` takes 60 minutes, of Taillard's instances one of each size; `full` takes all eighty.
"""

from __future__ import annotations

from functools import partial

from common.evaluation.report import Report
from manufacturing.production_scheduling.config import Config
from manufacturing.production_scheduling.data import BRANDIMARTE, CLASSIC, TAILLARD, instances
from manufacturing.production_scheduling.evaluate import reports
from manufacturing.production_scheduling.gaps import measure_all
from manufacturing.production_scheduling.reaction import breakdowns, first_plans

ONE_OF_EACH_SIZE = tuple(f"ta{number}1" for number in range(8))
PROOF = 120.0
"""Seconds in which ft, la and orb are to be proven."""
TO_PROVE = ("ft", "la", "orb")


def bench(config: Config, preset: str) -> list[Report]:
    """Reports of all protocols; of the preset `sample`, which has no files, of what was learnt alone."""
    found = [] if preset == "sample" else _published(config, preset)
    return found + reports(config, preset)


def _published(config: Config, preset: str) -> list[Report]:
    measure = partial(measure_all, preset=preset, workers=config.workers, seed=config.seed)
    found = measure([CLASSIC, BRANDIMARTE], seconds=config.seconds)
    some = instances(TAILLARD) if preset == "full" else ONE_OF_EACH_SIZE
    found += measure([TAILLARD], seconds=config.seconds, only=lambda name: name in some)
    found += measure([CLASSIC], seconds=PROOF, only=lambda name: name.startswith(TO_PROVE), beside=())
    return [*found, first_plans(config, preset), breakdowns(config, preset)]
