"""Quantiles of processing times at serving, by the trees and the conformal offsets of a bundle.

An operation is described by its planned time, machine, family and what the request's `Context` adds. What is not known
may be left out: the models have seen rows without it, and each pattern of what is known has offsets of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from common.config import Strict
from manufacturing.production_scheduling.problem import MOST_TIME, Job, Operation, Problem
from manufacturing.production_scheduling.trees import Trees

if TYPE_CHECKING:
    from common.bundle import Bundle

FEATURES = ("planned", "quantity", "machine", "family", "fit", "operator", "experience", "shift", "hours")
GROUPS: dict[str, tuple[str, ...]] = {
    "machine": ("machine", "fit"),
    "family": ("family", "fit"),
    "quantity": ("quantity",),
    "operator": ("operator", "experience"),
    "shift": ("shift",),
    "hours": ("hours",),
}
"""What may be unknown, and the features that are then missing."""
LEAST, MOST = 0.05, 50.0
"""No ratio is outside."""
AT_ONCE = 1_000_000
"""Random times at a time: 50 MB."""


class MachineState(Strict):
    """What is known of a machine."""

    hours_since_maintenance: float | None = Field(None, ge=0, le=1e6, description="worked since its last service")


class Attributes(Strict):
    """What is known of an operation beside its machine and family."""

    quantity: float | None = Field(None, gt=0, le=1e9, description="pieces")
    operator: str = Field("", max_length=200, description="as in the history")
    experience: float | None = Field(None, ge=0, le=1200, description="of the operator, in months")
    shift: str = Field("", max_length=200, description="as in the history")


class Context(Strict):
    """What the processing times depend on; all of it may be left out."""

    machines: dict[str, MachineState] = Field({}, description="by machine")
    operations: dict[str, dict[str, Attributes]] = Field({}, description="by job, by operation")

    def check(self, problem: Problem) -> None:
        """Raise `ValueError` that names the first machine, job or operation that does not exist."""
        for machine in self.machines:
            if machine not in problem.machine:
                raise ValueError(f"the context has machine {machine!r}, which does not exist")
        for job, rows in self.operations.items():
            if job not in problem.job:
                raise ValueError(f"the context has job {job!r}, which does not exist")
            for operation in rows:
                if operation not in problem.job[job].names:
                    raise ValueError(f"the context has operation {operation!r} of job {job!r}, which does not exist")


@dataclass(frozen=True)
class Rows:
    """Operations as models see them: texts ("" unknown) and numbers (NaN unknown), each (rows,); `planned` minutes."""

    machine: Sequence[str]
    family: Sequence[str]
    operator: Sequence[str]
    shift: Sequence[str]
    planned: np.ndarray
    quantity: np.ndarray
    experience: np.ndarray
    hours: np.ndarray


@dataclass(frozen=True)
class Times:
    """Quantiles of actual / planned time, one row for each machine of each operation, in the order of the problem.

    `ratio` is (rows, levels); the largest one of a row comes from the same model as the smallest, and no quantile is
    below one of a lower level. `shared` is the correlation of operations on the same machine and day.
    """

    levels: np.ndarray
    ratio: np.ndarray
    shared: float

    def at(self, level: float) -> np.ndarray:
        """Ratios (rows,) of one level, linear in the logarithm and in the normal score between those of the models."""
        return self._of_scores(np.full((1, len(self.ratio)), NormalDist().inv_cdf(level)))[0]

    def draw(self, rng: np.random.Generator, draws: int, machine: np.ndarray) -> np.ndarray:
        """Random ratios (draws, rows); rows of one machine (rows,) int share a part of their luck."""
        found = np.empty((draws, len(machine)))
        together = max(1, AT_ONCE // max(1, len(machine)))
        for first in range(0, draws, together):
            some = found[first : first + together]
            common = rng.standard_normal((len(some), int(machine.max(initial=0)) + 1))[:, machine]
            own = rng.standard_normal(some.shape)
            some[:] = self._of_scores(np.sqrt(self.shared) * common + np.sqrt(1 - self.shared) * own)
        return found

    def rows(self, index: np.ndarray) -> Times:
        """Those at some positions."""
        return Times(self.levels, self.ratio[index], self.shared)

    def _of_scores(self, z: np.ndarray) -> np.ndarray:
        nodes = np.array([NormalDist().inv_cdf(level) for level in self.levels])
        place = np.clip(np.searchsorted(nodes, z) - 1, 0, len(nodes) - 2)
        log, row = np.log(self.ratio), np.arange(len(self.ratio))[None, :]
        low, high = log[row, place], log[row, place + 1]
        share = (z - nodes[place]) / (nodes[place + 1] - nodes[place])
        return np.clip(np.exp(low + share * (high - low)), LEAST, MOST)


@dataclass(frozen=True)
class Durations:
    """The models of a bundle: `effects` has the mean log-ratio of each text, `offset` (patterns, levels) calibrates."""

    levels: np.ndarray
    models: Sequence[Trees]
    effects: Mapping[str, Mapping[str, float]]
    offset: np.ndarray
    shared: np.ndarray
    minutes_per_unit: float
    simulated: bool

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> Durations:
        """From a verified bundle."""
        kept = bundle.json("preprocess.json")["durations"]
        arrays = bundle.arrays("durations.safetensors")
        return cls(
            np.array(kept["levels"]),
            [Trees.parse(bundle.read(file_of(level)).decode()) for level in kept["levels"]],
            kept["effects"],
            arrays["offset"],
            arrays["shared"],
            kept["minutes_per_unit"],
            bundle.manifest.simulated,
        )

    def quantiles(self, problem: Problem, context: Context | None = None) -> Times:
        """Of every operation on each of its machines; raises `ValueError` when the context names what is not there."""
        rows = rows_of(problem, context or Context(), self.minutes_per_unit)
        x = features(rows, self.effects)
        ratio, pattern = self.predict(x)
        return Times(self.levels, ratio, float(self.shared[pattern].mean()))

    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Calibrated, ascending ratios (rows, levels) of features, and the pattern (rows,) of what is known."""
        pattern = patterns(x)
        log = np.stack([model.predict(x) for model in self.models], axis=1) + self.offset[pattern]
        return np.clip(np.exp(np.sort(log, axis=1)), LEAST, MOST), pattern


def file_of(level: float) -> str:
    """Where the bundle has the model of a level."""
    return f"quantile_{level:g}.txt"


def fit_of(machine: str, family: str) -> str:
    """The name of both together among the effects."""
    return f"{machine} / {family}"


def features(rows: Rows, effects: Mapping[str, Mapping[str, float]]) -> np.ndarray:
    """float64 (rows, features), NaN where not known or never seen in training."""
    texts = {"machine": rows.machine, "family": rows.family, "operator": rows.operator, "shift": rows.shift}
    texts["fit"] = [fit_of(*pair) for pair in zip(rows.machine, rows.family, strict=True)]
    columns = {name: np.array([effects[name].get(text, np.nan) for text in column]) for name, column in texts.items()}
    columns |= {"planned": np.log(rows.planned), "quantity": np.log(rows.quantity)}
    columns |= {"experience": rows.experience, "hours": rows.hours}
    return np.stack([columns[name] for name in FEATURES], axis=1)


def patterns(x: np.ndarray) -> np.ndarray:
    """int (rows,): bit i is set where nothing is known of the i-th of `GROUPS`."""
    found = np.zeros(len(x), np.int64)
    for bit, names in enumerate(GROUPS.values()):
        # Machine and family are known by their own effect; that of both together may lack in addition.
        own = [FEATURES.index(name) for name in names if name != "fit"]
        found |= np.isnan(x[:, own]).all(axis=1).astype(np.int64) << bit
    return found


def hide(x: np.ndarray, pattern: int | np.ndarray) -> np.ndarray:
    """Features without what the pattern (or one for each row) says is not known."""
    found = x.copy()
    for bit, names in enumerate(GROUPS.values()):
        hidden = np.broadcast_to((np.asarray(pattern) >> bit) & 1, len(x)).astype(bool)
        for name in names:
            found[hidden, FEATURES.index(name)] = np.nan
    return found


def options(problem: Problem) -> list[tuple[Job, str, Operation, str]]:
    """Job, name of the operation, operation and machine of each row of `Times`."""
    return [
        (job, name, operation, machine)
        for job in problem.jobs
        for name, operation in zip(job.names, job.operations, strict=True)
        for machine in operation.durations
    ]


def rows_of(problem: Problem, context: Context, minutes_per_unit: float) -> Rows:
    """The rows of a problem; raises `ValueError` when the context names what is not there."""
    context.check(problem)
    listed = options(problem)
    nothing, unknown = Attributes(), MachineState()
    known = [context.operations.get(job.name, {}).get(name, nothing) for job, name, _, _ in listed]

    def numbers(values: Sequence[float | None]) -> np.ndarray:
        return np.array([np.nan if value is None else value for value in values])

    return Rows(
        machine=[machine for *_, machine in listed],
        family=[operation.family for _, _, operation, _ in listed],
        operator=[one.operator for one in known],
        shift=[one.shift for one in known],
        planned=np.array([operation.durations[machine] for _, _, operation, machine in listed]) * minutes_per_unit,
        quantity=numbers([one.quantity for one in known]),
        experience=numbers([one.experience for one in known]),
        hours=numbers([context.machines.get(machine, unknown).hours_since_maintenance for *_, machine in listed]),
    )


def stretched_times(problem: Problem, ratio: np.ndarray) -> np.ndarray:
    """int64 (rows of `Times`,): each duration times its ratio, at least 1; what the plan has frozen stays.

    Operations of one batch family keep one time on a machine: the longest.
    """
    listed, frozen = options(problem), problem.frozen()
    planned = np.array([operation.durations[machine] for _, _, operation, machine in listed])
    begun = np.array([(job.name, name) in frozen for job, name, _, _ in listed])
    times = np.clip(np.rint(planned * np.where(begun, 1.0, ratio)), 1, MOST_TIME).astype(np.int64)
    together: dict[tuple[str, str], list[int]] = {}
    for row, (_, _, operation, machine) in enumerate(listed):
        if operation.batch and problem.machine[machine].capacity > 1:
            together.setdefault((machine, operation.batch), []).append(row)
    for rows in together.values():
        times[rows] = times[rows].max()
    return times


def stretched(problem: Problem, ratio: np.ndarray) -> Problem:
    """The problem with the `stretched_times` of some ratios.

    Raises `ValidationError` where a deadline cannot be met with these times.
    """
    times, jobs = iter(stretched_times(problem, ratio).tolist()), []
    for job in problem.jobs:
        operations = tuple(
            one.model_copy(update={"durations": {machine: next(times) for machine in one.durations}})
            for one in job.operations
        )
        # Built anew: a copy would keep what the old one has computed.
        jobs.append(Job(**{field: getattr(job, field) for field in Job.model_fields} | {"operations": operations}))
    return problem.changed(jobs=tuple(jobs))
