"""What is to be planned and what a plan is: the types that files, requests, solvers and the checker share.

Times are integers in one unit of the user's choice (minutes, say), counted from 0; intervals are half open. The words
are those of Pinedo, *Scheduling*, 5th ed. (2016). Whatever contradicts itself raises pydantic's `ValidationError` with
one sentence that names the job, the machine and the conflict. It is over 300 lines because what may contradict itself
is said beside where it is declared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any, Self

from pydantic import Field, model_validator

from common.config import Strict

MOST_TIME = 2**40
"""No time or duration is longer: sums of 10,000 of them still fit the solver's 64-bit integers."""


class Window(Strict):
    """The time [start, end); every `every` time units again and for ever where that is given."""

    start: int = Field(ge=0, le=MOST_TIME)
    end: int = Field(le=MOST_TIME)
    every: int | None = Field(None, le=MOST_TIME, description="period of repetition, at least the window's length")
    name: str = ""

    def until(self, horizon: int) -> Iterator[tuple[int, int]]:
        """Its occurrences that start before `horizon`, ascending."""
        start, end = self.start, self.end
        while start < horizon:
            yield start, end
            if self.every is None:
                return
            start, end = start + self.every, end + self.every


class Machine(Strict):
    """A machine does one operation at a time, or one batch of up to `capacity` when that is above 1.

    It works in its `calendar` (always, where that is null) except in `breaks` and `maintenance`. Breaks and closed time
    interrupt operations that allow it; nothing may run across maintenance. Between two operations that follow each
    other `setups[family before][family after]` time units pass (0 where no entry is), at any hour.
    """

    name: str = Field(min_length=1)
    calendar: tuple[Window, ...] | None = Field(None, description="working time; null: always")
    breaks: tuple[Window, ...] = ()
    maintenance: tuple[Window, ...] = ()
    setups: dict[str, dict[str, int]] = Field({}, description="from family, to family: time units")
    initial_family: str = Field("", description="what the machine is set up for at time 0")
    capacity: int = Field(1, ge=1, description="total size of the operations that one batch may hold")

    def setup(self, before: str, after: str) -> int:
        """Time units between two operations that follow each other."""
        return self.setups.get(before, {}).get(after, 0)


class Operators(Strict):
    """A pool of people with the same skill, who work in their `calendar` except in `breaks`."""

    name: str = Field(min_length=1)
    count: int = Field(ge=1)
    calendar: tuple[Window, ...] | None = Field(None, description="working time; null: always")
    breaks: tuple[Window, ...] = ()


class Operation(Strict):
    """One step of a job on one of the machines in `durations`.

    It starts when every operation in `after` has ended and its `lag` has passed: the one before it in the list where
    `after` is null, none where it is empty. It holds its machine and operators from start to end. An `interruptible`
    one stops while its machine or a pool has a break or is closed, and goes on afterwards; another one must fit.
    Operations with the same `batch` may run together on a machine with `capacity`: they start and end together.
    """

    name: str = Field("", description="unique in the job; its place in the list from 1 where empty")
    durations: dict[str, int] = Field(min_length=1, description="machine: working time units, above 0")
    after: tuple[str, ...] | None = None
    lag: int = Field(0, ge=0, le=MOST_TIME, description="transport from its end to the start of the next")
    earliest: int = Field(0, ge=0, le=MOST_TIME, description="when its material is there")
    operators: dict[str, int] = Field({}, description="pool: how many people it needs")
    family: str = Field("", description="what its machine must be set up for")
    interruptible: bool = False
    batch: str = Field("", description="operations of one batch family may share a batch")
    size: int = Field(1, ge=1, description="of the machine's capacity")


class Job(Strict):
    """An order: its operations, when it may start, when it should (`due`) and must (`deadline`) be done."""

    name: str = Field(min_length=1)
    operations: tuple[Operation, ...] = Field(min_length=1)
    release: int = Field(0, ge=0, le=MOST_TIME)
    due: int | None = Field(None, le=MOST_TIME)
    deadline: int | None = Field(None, le=MOST_TIME)
    weight: int = Field(1, ge=0, le=1_000_000, description="of its tardiness and flow time")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of its operations."""
        return tuple(operation.name or str(place) for place, operation in enumerate(self.operations, 1))

    @cached_property
    def before(self) -> tuple[tuple[int, ...], ...]:
        """For each operation the places of those it waits for; raises `ValueError` when `after` names none of them."""
        place = {name: index for index, name in enumerate(self.names)}
        found: list[tuple[int, ...]] = []
        for index, operation in enumerate(self.operations):
            if operation.after is None:
                found.append((index - 1,) if index else ())
                continue
            for name in operation.after:
                if name not in place:
                    raise ValueError(
                        f"job {self.name!r}: operation {self.names[index]!r} waits for {name!r}, which is not an "
                        f"operation of the job"
                    )
            found.append(tuple(dict.fromkeys(place[name] for name in operation.after)))
        return tuple(found)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Places of the operations, each after all that it waits for; raises `ValueError` that shows a cycle."""
        try:
            return tuple(TopologicalSorter(dict(enumerate(self.before))).static_order())
        except CycleError as error:
            shown = " waits for ".join(repr(self.names[i]) for i in reversed(error.args[1]))
            raise ValueError(f"job {self.name!r}: the precedence is cyclic: {shown}") from None


class Objective(Strict):
    """What is made small: the sum of these figures, each times its weight.

    `makespan` is the end of the last operation; `tardiness` the sum over jobs of weight x max(0, end - due); `flow`
    that of weight x (end - release); `setups` the time spent on setups; `changes` the number of operations that the
    running plan has on another machine or with another start.
    """

    makespan: int = Field(1, ge=0)
    tardiness: int = Field(0, ge=0)
    flow: int = Field(0, ge=0)
    setups: int = Field(0, ge=0)
    changes: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not any(self.model_dump().values()):
            raise ValueError("the objective is empty: give one of makespan, tardiness, flow, setups, changes a weight")
        return self

    @property
    def weights(self) -> dict[str, int]:
        """The figures with a weight above 0."""
        return {name: weight for name, weight in self.model_dump().items() if weight}


class Assignment(Strict):
    """Where and when one operation runs, and who does it (`fitters 2` is the second of the pool `fitters`)."""

    job: str
    operation: str
    machine: str
    start: int
    end: int
    operators: tuple[str, ...] = ()


class Schedule(Strict):
    """A plan: one assignment for each operation."""

    assignments: tuple[Assignment, ...]

    @cached_property
    def by_operation(self) -> dict[tuple[str, str], Assignment]:
        """Assignments by (job, operation)."""
        return {(one.job, one.operation): one for one in self.assignments}

    @property
    def makespan(self) -> int:
        """The end of the last operation; 0 without any."""
        return max((one.end for one in self.assignments), default=0)


class Problem(Strict):
    """A planning problem. `plan` is the running plan, if there is one.

    Operations that the plan starts before `frozen_until` stay as they are; all others start at or after it.
    """

    name: str = ""
    machines: tuple[Machine, ...] = Field(min_length=1)
    operators: tuple[Operators, ...] = ()
    jobs: tuple[Job, ...] = Field(min_length=1)
    objective: Objective = Objective()
    plan: Schedule | None = None
    frozen_until: int = Field(0, ge=0, le=MOST_TIME)

    @cached_property
    def machine(self) -> dict[str, Machine]:
        """Machines by name."""
        return {one.name: one for one in self.machines}

    @cached_property
    def pool(self) -> dict[str, Operators]:
        """Pools of operators by name."""
        return {one.name: one for one in self.operators}

    @cached_property
    def job(self) -> dict[str, Job]:
        """Jobs by name."""
        return {one.name: one for one in self.jobs}

    @property
    def size(self) -> int:
        """The number of operations."""
        return sum(len(job.operations) for job in self.jobs)

    def frozen(self) -> dict[tuple[str, str], Assignment]:
        """The assignments of the running plan that must stay, by (job, operation)."""
        if self.plan is None:
            return {}
        return {key: one for key, one in self.plan.by_operation.items() if one.start < self.frozen_until}

    def changed(self, **update: Any) -> Problem:
        """A copy with some fields changed, checked again; raises `ValidationError` as the constructor does."""
        return Problem(**{name: getattr(self, name) for name in Problem.model_fields} | update)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _unique("machine", (one.name for one in self.machines))
        _unique("pool of operators", (one.name for one in self.operators))
        _unique("job", (one.name for one in self.jobs))
        for machine in self.machines:
            _windows(f"machine {machine.name!r}", machine.calendar, (*machine.breaks, *machine.maintenance))
            for before, row in machine.setups.items():
                for after, time in row.items():
                    if not 0 <= time <= MOST_TIME:
                        raise ValueError(
                            f"machine {machine.name!r}: the setup from {before!r} to {after!r} takes {time}"
                        )
        for pool in self.operators:
            _windows(f"operators {pool.name!r}", pool.calendar, pool.breaks)
        together: dict[tuple[str, str], tuple[str, int]] = {}
        for job in self.jobs:
            _check_job(job, self.machine, self.pool, together)
        self._check_plan()
        return self

    def _check_plan(self) -> None:
        if self.plan is None:
            if self.frozen_until or self.objective.changes:
                what = "frozen_until is set" if self.frozen_until else "changes have a weight"
                raise ValueError(f"{what}, but there is no running plan; give one as plan")
            return
        _unique("assignment of the plan", (f"{one.job}/{one.operation}" for one in self.plan.assignments))
        for (name, operation), one in self.plan.by_operation.items():
            if name not in self.job or operation not in self.job[name].names:
                raise ValueError(f"the plan has operation {operation!r} of job {name!r}, which does not exist")
            if one.machine not in self.machine:
                raise ValueError(f"the plan has job {name!r} on machine {one.machine!r}, which does not exist")


def _unique(what: str, names: Iterable[str]) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{what} {twice[0]!r} is listed twice; every name must be unique")


def _windows(where: str, calendar: tuple[Window, ...] | None, others: Iterable[Window]) -> None:
    if calendar is not None and not calendar:
        raise ValueError(f"{where} has an empty calendar: it never works; give it working time, or null for always")
    for window in (*(calendar or ()), *others):
        label = (
            f"the window {window.name!r} ({window.start} to {window.end})"
            if window.name
            else "the window " + (f"{window.start} to {window.end}")
        )
        if window.end <= window.start:
            raise ValueError(f"{where}: {label} is empty; its end must be after its start")
        if window.every is not None and window.every < window.end - window.start:
            raise ValueError(f"{where}: {label} is longer than its period of {window.every}")


def _check_job(
    job: Job,
    machines: Mapping[str, Machine],
    pools: Mapping[str, Operators],
    together: dict[tuple[str, str], tuple[str, int]],
) -> None:
    """Raise `ValueError` with the first thing wrong; `together` holds the duration of each batch on each machine."""
    _unique(f"job {job.name!r}: operation", job.names)
    for name, operation in zip(job.names, job.operations, strict=True):
        where = f"job {job.name!r}, operation {name!r}"
        for machine, duration in operation.durations.items():
            if machine not in machines:
                known = ", ".join(repr(one) for one in list(machines)[:10]) + (", ..." if len(machines) > 10 else "")
                raise ValueError(f"{where}: machine {machine!r} does not exist; there are {known}")
            if not 0 < duration <= MOST_TIME:
                raise ValueError(f"{where}: the duration on machine {machine!r} is {duration}; it must be at least 1")
            if machines[machine].capacity > 1 and operation.size > machines[machine].capacity:
                room = machines[machine].capacity
                raise ValueError(f"{where}: its size {operation.size} exceeds machine {machine!r}, which holds {room}")
            if operation.batch and machines[machine].capacity > 1:
                other, time = together.setdefault((machine, operation.batch), (where, duration))
                if time != duration:
                    raise ValueError(
                        f"{where}: batch {operation.batch!r} takes {duration} on machine {machine!r}, but {time} in "
                        f"{other}; all operations of a batch family take the same time on one machine"
                    )
        for pool, number in operation.operators.items():
            if pool not in pools:
                raise ValueError(f"{where}: there are no operators {pool!r}")
            if not 1 <= number <= pools[pool].count:
                have = pools[pool].count
                raise ValueError(
                    f"{where} needs {number} operators of {pool!r}; it may need 1 to {have}, all there are"
                )
    _check_times(job)


def _check_times(job: Job) -> None:
    """Raise `ValueError` when the job cannot be done in its window even on machines that are always free."""
    if job.due is not None and job.due < job.release:
        raise ValueError(f"job {job.name!r} is due at {job.due}, before its release at {job.release}")
    if job.deadline is not None and job.deadline < job.release:
        raise ValueError(f"job {job.name!r} has its deadline at {job.deadline}, before its release at {job.release}")
    ends = [0] * len(job.operations)
    for index in job.order:
        operation = job.operations[index]
        ready = max((ends[i] + job.operations[i].lag for i in job.before[index]), default=0)
        ends[index] = max(ready, job.release, operation.earliest) + min(operation.durations.values())
    if job.deadline is not None and max(ends) > job.deadline:
        raise ValueError(
            f"job {job.name!r} has an infeasible window: it cannot end before {max(ends)} even on free machines, and "
            f"its deadline is {job.deadline}"
        )
