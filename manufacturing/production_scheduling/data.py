"""Where instances come from: published files checked against their cards, Taillard's generator, files of one's own."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from common.data.card import load_card
from common.data.fetch import fetch
from common.errors import DataCorrupted, DatasetUnavailable
from common.files import sha256
from manufacturing.production_scheduling.problem import Job, Machine, Operation, Problem
from manufacturing.production_scheduling.readers import Format, read, write_standard

CLASSIC, BRANDIMARTE, TAILLARD = "jobshop-classic", "fjsp-brandimarte", "taillard-generator"
MODULUS, FACTOR, QUOTIENT, REST = 2147483647, 16807, 127773, 2836
"""The generator of Bratley, Fox and Schrage that Taillard used: seed = 16807 seed mod 2^31 - 1, by Schrage's method."""


def instances(dataset: str) -> list[str]:
    """The names of a published set's instances, in order; raises `UsageError` when the id is unknown."""
    if dataset == TAILLARD:
        return list(_seeds())
    return [Path(file.path).stem for file in load_card(dataset).files if file.path.endswith(".txt")]


def load(dataset: str, instance: str = "") -> Problem:
    """One instance of a published set, or the file that `dataset` names.

    Raises `DatasetUnavailable` when there is no such set, instance or file, `DataCorrupted` when it is not the one of
    its card, and `DataError` when a file cannot be read.
    """
    if dataset == TAILLARD:
        return _taillard(instance)
    if dataset in (CLASSIC, BRANDIMARTE):
        paths = _files(dataset)
        if f"{instance}.txt" not in paths:
            raise DatasetUnavailable("no such instance", where=dataset, got=repr(instance), expected=_some(dataset))
        form: Format = "standard" if dataset == CLASSIC else "fjsp"
        return read(paths[f"{instance}.txt"], form, without_last_zeros=True)
    if not Path(dataset).expanduser().is_file():
        expected = f"{CLASSIC}, {BRANDIMARTE}, {TAILLARD}, or the path of an instance file"
        raise DatasetUnavailable("no such data set", got=repr(dataset), expected=expected)
    return read(Path(dataset).expanduser())


def bounds(dataset: str) -> dict[str, tuple[int, int]]:
    """Best known lower and upper bound of each instance; none for Taillard's, whose bounds are held out."""
    if dataset == TAILLARD:
        return {}
    rows = json.loads(_files(dataset)["bounds.json"].read_text(encoding="utf-8"))
    return {row["instance"]: (row["lower_bound"], row["upper_bound"]) for row in rows}


def generate(jobs: int, machines: int, time_seed: int, machine_seed: int, name: str = "") -> Problem:
    """A job shop by Taillard's recipe (EJOR 64, 1993): times U(1, 99), each job on all machines in random order."""
    times = _Lehmer(time_seed)
    durations = [[times.uniform(1, 99) for _ in range(machines)] for _ in range(jobs)]
    swaps = _Lehmer(machine_seed)
    rows = []
    for place in range(jobs):
        order = list(range(machines))
        for i in range(machines):
            j = swaps.uniform(i, machines - 1)
            order[i], order[j] = order[j], order[i]
        steps = zip(order, durations[place], strict=True)
        operations = tuple(Operation(durations={f"M{machine}": time}) for machine, time in steps)
        rows.append(Job(name=f"J{place + 1}", operations=operations))
    return Problem(name=name, machines=tuple(Machine(name=f"M{i}") for i in range(machines)), jobs=tuple(rows))


class _Lehmer:
    def __init__(self, seed: int) -> None:
        self.seed = seed

    def uniform(self, low: int, high: int) -> int:
        """The next whole number from `low` to `high`."""
        k = self.seed // QUOTIENT
        self.seed = FACTOR * (self.seed % QUOTIENT) - k * REST
        if self.seed < 0:
            self.seed += MODULUS
        return low + int(self.seed / MODULUS * (high - low + 1))


def _taillard(instance: str) -> Problem:
    seeds = _seeds().get(instance)
    if seeds is None:
        raise DatasetUnavailable("no such instance", where=TAILLARD, got=repr(instance), expected="ta01 to ta80")
    problem = generate(seeds["jobs"], seeds["machines"], seeds["time_seed"], seeds["machine_seed"], instance)
    if (got := sha256(write_standard(problem).encode())) != seeds["canonical_sha256"]:
        raise DataCorrupted(
            "the generated instance differs",
            where=f"{TAILLARD}/{instance}",
            got=got,
            expected=seeds["canonical_sha256"],
        )
    return problem


@lru_cache
def _seeds() -> dict[str, dict[str, Any]]:
    content = json.loads(_files(TAILLARD)["taillard_seeds.json"].read_text(encoding="utf-8"))
    return {row["name"]: row for row in content["instances"]}


@lru_cache
def _files(dataset: str) -> dict[str, Path]:
    return fetch(load_card(dataset))


def _some(dataset: str) -> str:
    names = instances(dataset)
    return f"one of {', '.join(names[:4])}, ..., {names[-1]}"
