"""Explanations of a plan: what holds it up, where the bottleneck is, why a job is late, and what would be if.

A start is explained by what ended last before it: the previous operation of the job, of the machine or of an operator,
the release, the material, or a calendar. Following these causes back from the end of the plan gives its critical path.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from common.errors import InvalidRequest
from manufacturing.production_scheduling.bounds import earliest_starts
from manufacturing.production_scheduling.checker import lateness, measure
from manufacturing.production_scheduling.problem import Problem, Schedule
from manufacturing.production_scheduling.shop import Shop
from manufacturing.production_scheduling.solve import Solution, solve

Cause = Literal["job", "machine", "operators", "release", "material", "calendar", "frozen", "none"]


@dataclass(frozen=True)
class Link:
    """One operation of a chain, and why it starts no earlier; `behind` is the operation it waits for, if it is one."""

    job: str
    operation: str
    machine: str
    start: int
    end: int
    cause: Cause
    behind: tuple[str, str] | None
    sentence: str


@dataclass(frozen=True)
class Load:
    """A machine or pool: how long it is busy and open until the plan's end, and its time on the critical path."""

    name: str
    kind: Literal["machine", "operators"]
    busy: int
    open: int
    critical: int

    @property
    def utilisation(self) -> float:
        """Busy time per open time (and person)."""
        return self.busy / self.open if self.open else 0.0


@dataclass(frozen=True)
class Delay:
    """Why a job ends when it does; `late` is negative when it is early and None without a due date."""

    job: str
    end: int
    due: int | None
    late: int | None
    earliest_end: int
    """On free machines."""
    waits: dict[str, int]
    """Time units that the job waits on its way, by what for."""
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Two solutions: figures before and after, and the ends of the jobs that change, as (before, after)."""

    before: Solution
    after: Solution
    figures: dict[str, tuple[int, int]]
    ends: dict[str, tuple[int, int]]
    sentences: tuple[str, ...]


def critical_path(problem: Problem, schedule: Schedule) -> list[Link]:
    """The chain of operations, first one first, that the end of the plan follows from."""
    causes = _Causes(problem, schedule)
    last = max(range(len(causes.plan)), key=lambda o: causes.plan[o][2], default=None)
    return list(reversed(list(causes.chain(last)))) if last is not None else []


def loads(problem: Problem, schedule: Schedule) -> list[Load]:
    """Every machine and pool, the bottleneck first: most time on the critical path, then the highest utilisation."""
    causes = _Causes(problem, schedule)
    critical = {(link.job, link.operation) for link in critical_path(problem, schedule)}
    busy: Counter[tuple[str, str]] = Counter()
    pressing: Counter[tuple[str, str]] = Counter()
    batches: set[tuple[str, int, int]] = set()
    for one in schedule.assignments:
        for person in one.operators:
            busy["operators", person.rsplit(" ", 1)[0]] += one.end - one.start
        on_path = (one.job, one.operation) in critical
        for pool in {person.rsplit(" ", 1)[0] for person in one.operators} if on_path else ():
            pressing["operators", pool] += one.end - one.start
        if on_path:
            pressing["machine", one.machine] += one.end - one.start
        if (batch := (one.machine, one.start, one.end)) not in batches:
            batches.add(batch)
            busy["machine", one.machine] += one.end - one.start
    found = []
    for index, machine in enumerate(problem.machines):
        step = next((step for step in causes.shop.steps if index in step.options and not step.pools), None)
        closed, blocked = causes.shop.timeline(step, index).spans(schedule.makespan) if step else ([], [])
        shut = sum(min(b, schedule.makespan) - a for a, b in (*closed, *blocked) if a < schedule.makespan)
        key = "machine", machine.name
        found.append(Load(machine.name, "machine", busy[key], schedule.makespan - shut, pressing[key]))
    for people in problem.operators:
        key = "operators", people.name
        found.append(Load(people.name, "operators", busy[key], schedule.makespan * people.count, pressing[key]))
    return sorted(found, key=lambda load: (-load.critical, -load.utilisation))


def why_late(problem: Problem, schedule: Schedule, job: str) -> Delay:
    """Where the time of one job goes; raises `InvalidRequest` when there is no such job."""
    if job not in problem.job:
        raise InvalidRequest("no such job", got=repr(job), expected=f"one of {len(problem.jobs)} jobs of the problem")
    causes = _Causes(problem, schedule)
    one = problem.job[job]
    number = problem.jobs.index(one)
    places = range(causes.shop.first[number], causes.shop.first[number + 1])
    heads = earliest_starts(causes.shop)
    earliest = max(heads[o] + causes.shop.steps[o].shortest for o in places)
    last = max(places, key=lambda o: causes.plan[o][2])
    o: int | None = last
    end = causes.plan[last][2]
    waits: Counter[str] = Counter()
    sentences: list[str] = []
    while o is not None:
        link, step = causes.link(o), causes.shop.steps[o]
        previous = max(step.before, key=lambda p: causes.plan[p][2] + causes.shop.steps[p].lag, default=None)
        ready = step.earliest if previous is None else causes.plan[previous][2] + causes.shop.steps[previous].lag
        if step.earliest > ready:
            ready = step.earliest
        if wait := causes.plan[o][1] - ready:
            what = f"machine {link.machine}" if link.cause == "machine" else link.cause
            waits[what] += wait
            sentences.append(f"Operation {step.name} waits {wait} time units: {link.sentence}")
        o = previous
    late = lateness(one, schedule)
    told = f"Job {job} ends at {end}"
    if late is not None:
        told += f", {late} after its due date {one.due}" if late > 0 else f", {-late} before its due date {one.due}"
    told += f"; on free machines it could end at {earliest}."
    return Delay(job, end, one.due, late, earliest, dict(waits), (told, *reversed(sentences)))


def what_if(problem: Problem, changed: Problem, seconds: float = 10.0, workers: int = 2, seed: int = 0) -> Comparison:
    """Plan both with the same limit and compare: another machine, a longer shift, one more order."""
    before, after = (solve(one, seconds, workers, seed=seed) for one in (problem, changed))
    return compare(problem, before, changed, after)


def compare(problem: Problem, before: Solution, changed: Problem, after: Solution) -> Comparison:
    """Two solutions side by side; without a plan on one side there are sentences only."""
    if before.schedule is None or after.schedule is None:
        told = (f"Before: {before.status}.", f"After: {after.status}.")
        return Comparison(before, after, {}, {}, told)
    one, two = measure(problem, before.schedule), measure(changed, after.schedule)
    values = {name: (one[name], two[name]) for name in one}
    ends = {
        name: (a, b) for name, a in _ends(before.schedule).items() if (b := _ends(after.schedule).get(name, a)) != a
    }
    words = {"makespan": "The plan ends", "tardiness": "The weighted tardiness is", "setups": "Setups take"}
    sentences = [
        f"{words[name]} {'at ' if name == 'makespan' else ''}{b} instead of {a}."
        for name, (a, b) in values.items()
        if name in words and a != b
    ]
    sentences.append(f"{len(ends)} of {len(one) and len(problem.jobs)} jobs end at another time.")
    if not (before.status == after.status == "optimal"):
        sentences.append("Not both plans are proven optimal: small differences may be chance.")
    return Comparison(before, after, values, ends, tuple(sentences))


def _ends(schedule: Schedule) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for one in schedule.assignments:
        found[one.job] = max(found[one.job], one.end)
    return dict(found)


class _Causes:
    """Why each operation of a complete schedule starts when it does."""

    def __init__(self, problem: Problem, schedule: Schedule) -> None:
        self.problem, self.schedule = problem, schedule
        self.shop = Shop(problem)
        self.plan = self.shop.plan(schedule)
        self.before = self._machine_predecessors()
        self.crew = self._crew_predecessors()

    def _machine_predecessors(self) -> dict[int, int]:
        """The operation that the machine ended before, batches counting as one."""
        rows: dict[int, list[int]] = defaultdict(list)
        for o, (machine, _, _) in enumerate(self.plan):
            rows[machine].append(o)
        found = {}
        for some in rows.values():
            some.sort(key=lambda o: self.plan[o][1:])
            for index, o in enumerate(some):
                earlier = [other for other in some[:index] if self.plan[other][2] <= self.plan[o][1]]
                if earlier:
                    found[o] = earlier[-1]
        return found

    def _crew_predecessors(self) -> dict[int, int]:
        """The operation that the operator who came free last did before."""
        rows: dict[str, list[int]] = defaultdict(list)
        for key, one in self.schedule.by_operation.items():
            for person in one.operators:
                rows[person].append(self.shop.number[key])
        found: dict[int, int] = {}
        for some in rows.values():
            some.sort(key=lambda o: self.plan[o][1])
            for before, o in pairwise(some):
                if o not in found or self.plan[before][2] > self.plan[found[o]][2]:
                    found[o] = before
        return found

    def chain(self, o: int | None) -> Iterator[Link]:
        """The links from an operation back."""
        while o is not None:
            link = self.link(o)
            yield link
            o = self.shop.number[link.behind] if link.behind else None

    def link(self, o: int) -> Link:
        """One operation with the cause of its start."""
        step, (machine, start, end) = self.shop.steps[o], self.plan[o]
        one, job = self.shop.machines[machine], self.shop.jobs[step.job]
        options: list[tuple[int, Cause, int | None, str]] = []
        if o in self.shop.frozen:
            options.append((start, "frozen", None, "it is frozen"))
        for other in step.before:
            lag = self.shop.steps[other].lag
            told = f"{self._name(other)} ends at {self.plan[other][2]}" + (
                f", and transport takes {lag}" if lag else ""
            )
            options.append((self.plan[other][2] + lag, "job", other, told))
        there = self.before.get(o)
        family = self.shop.steps[there].family if there is not None else one.initial_family
        setup = one.setup(family, step.family)
        if there is not None:
            told = f"machine {one.name} does {self._name(there)} until {self.plan[there][2]}"
            told += f", and the setup takes {setup}" if setup else ""
            options.append((self.plan[there][2] + setup, "machine", there, told))
        elif setup:
            options.append((setup, "machine", None, f"machine {one.name} is set up until {setup}"))
        if (crew := self.crew.get(o)) is not None:
            told = f"an operator does {self._name(crew)} until {self.plan[crew][2]}"
            options.append((self.plan[crew][2], "operators", crew, told))
        options.append((job.release, "release", None, f"job {job.name} is released at {job.release}"))
        if step.earliest > job.release:
            options.append((step.earliest, "material", None, f"its material is there at {step.earliest}"))
        ready, cause, behind, told = max(options, key=lambda option: option[0])
        if ready < start:
            fitted = self.shop.timeline(step, machine).fit(ready, step.options[machine], step.interruptible)
            if fitted and fitted[0] == start:
                cause, told = "calendar", f"{told}; working time for it begins at {start}"
            else:
                cause, told = "none", f"{told}; it could start then, but nothing would end earlier"
        return Link(job.name, step.name, one.name, start, end, cause, self._key(behind), told + ".")

    def _name(self, o: int) -> str:
        step = self.shop.steps[o]
        return f"job {self.shop.jobs[step.job].name}, operation {step.name}"

    def _key(self, o: int | None) -> tuple[str, str] | None:
        return None if o is None else (self.shop.jobs[self.shop.steps[o].job].name, self.shop.steps[o].name)


def bottleneck(problem: Problem, schedule: Schedule) -> Load:
    """The first of `loads`."""
    return loads(problem, schedule)[0]


def tell(path: Sequence[Link]) -> list[str]:
    """A chain as sentences."""
    return [f"Job {one.job}, operation {one.operation} runs {one.start} to {one.end}: {one.sentence}" for one in path]
