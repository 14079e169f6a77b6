"""A problem as the solvers see it: operations numbered from 0, the jobs' one after another, and working time."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from manufacturing.production_scheduling.problem import Assignment, Machine, Operators, Problem, Schedule, Window

Placed = tuple[int, int, int]
"""Machine, start and end of one operation."""
Plan = list[Placed]
"""Of every operation, by number."""
NEVER = 2**52
"""Later than any time that can be planned."""


@dataclass(frozen=True)
class Step:
    """One operation: `options` are machines with durations, `before` the operations it waits for."""

    number: int
    job: int
    name: str
    options: dict[int, int]
    before: tuple[int, ...]
    after: tuple[int, ...]
    lag: int
    earliest: int
    pools: tuple[tuple[int, int], ...]
    family: str
    batch: str
    size: int
    interruptible: bool

    @property
    def shortest(self) -> int:
        """Its duration on the fastest machine."""
        return min(self.options.values())


class Shop:
    """The numbered view of a problem; machines, pools and jobs have their places in the problem's lists."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.machines, self.pools, self.jobs = problem.machines, problem.operators, problem.jobs
        machine = {one.name: index for index, one in enumerate(self.machines)}
        pool = {one.name: index for index, one in enumerate(self.pools)}
        self.first = [0, *accumulate(len(job.operations) for job in self.jobs)]
        self.steps: list[Step] = []
        for index, job in enumerate(self.jobs):
            base = self.first[index]
            after: list[list[int]] = [[] for _ in job.operations]
            for place, some in enumerate(job.before):
                for other in some:
                    after[other].append(base + place)
            for place, one in enumerate(job.operations):
                self.steps.append(
                    Step(
                        number=base + place,
                        job=index,
                        name=job.names[place],
                        options={machine[name]: time for name, time in one.durations.items()},
                        before=tuple(base + other for other in job.before[place]),
                        after=tuple(after[place]),
                        lag=one.lag,
                        earliest=max(job.release, one.earliest),
                        pools=tuple((pool[name], count) for name, count in sorted(one.operators.items())),
                        family=one.family,
                        batch=one.batch,
                        size=one.size,
                        interruptible=one.interruptible,
                    )
                )
        self.number = {(self.jobs[step.job].name, step.name): step.number for step in self.steps}
        self.machine_number = machine
        self.frozen: dict[int, Placed] = {
            self.number[key]: (machine[one.machine], one.start, one.end) for key, one in problem.frozen().items()
        }
        self.order = [self.first[j] + place for j, job in enumerate(self.jobs) for place in job.order]
        self.serial_end: int | None = None
        """Kept by `bounds.horizon`."""
        self._timelines: dict[tuple[int, tuple[int, ...]], Timeline] = {}

    def __len__(self) -> int:
        return len(self.steps)

    def timeline(self, step: Step, machine: int) -> Timeline:
        """When the operation can be worked on at a machine, as to the calendars of the machine and its operators."""
        key = machine, tuple(pool for pool, _ in step.pools)
        if key not in self._timelines:
            pools = [self.pools[pool] for pool in key[1]]
            self._timelines[key] = Timeline(self.machines[machine], pools)
        return self._timelines[key]

    def tails(self) -> list[int]:
        """For each operation the least time from its start to the end of its job, on free machines."""
        found = [0] * len(self)
        for o in reversed(self.order):
            step = self.steps[o]
            found[o] = step.shortest + max((step.lag + found[other] for other in step.after), default=0)
        return found

    def is_job_shop(self) -> bool:
        """Whether the tabu search can do it: chains on machines, with alternatives, releases, lags; the makespan."""
        problem = self.problem
        plain = all(
            m.calendar is None and not m.breaks and not m.maintenance and not m.setups and m.capacity == 1
            for m in self.machines
        )
        if not plain or set(problem.objective.weights) != {"makespan"} or problem.plan is not None:
            return False
        if any(job.deadline is not None for job in self.jobs) or self.horizon() >= 2**30:
            return False
        return all(
            not step.pools
            and step.before == (() if step.number == self.first[step.job] else (step.number - 1,))
            and (step.after or not step.lag)
            for step in self.steps
        )

    def horizon(self) -> int:
        """By when all is done when one thing is done after the other, calendars apart."""
        longest = sum(max(step.options.values()) + step.lag for step in self.steps)
        setups = max((t for m in self.machines for row in m.setups.values() for t in row.values()), default=0)
        start = max((step.earliest for step in self.steps), default=0)
        return max(start, self.problem.frozen_until) + longest + setups * len(self)

    def schedule(self, plan: Sequence[Placed]) -> Schedule:
        """The plan in the problem's words; operators are told off by start, those of frozen operations stay.

        A plan that needs more people than there are gets too few, which the checker says.
        """
        frozen = self.problem.frozen()
        free: list[list[tuple[int, int]]] = [[(0, n) for n in range(1, one.count + 1)] for one in self.pools]
        people: dict[int, tuple[str, ...]] = {}
        for o in sorted(range(len(self)), key=lambda o: (plan[o][1], o not in self.frozen, o)):
            step, (_, start, end) = self.steps[o], plan[o]
            if not step.pools:
                continue
            key = self.jobs[step.job].name, step.name
            taken: list[str] = []
            for pool, count in step.pools:
                name, heap = self.pools[pool].name, free[pool]
                kept = set(frozen[key].operators) if key in frozen else set()
                ready = sorted(one for one in heap if one[0] <= start)
                chosen = [one for one in heap if f"{name} {one[1]}" in kept] or ready[:count]
                for one in chosen:
                    heap.remove(one)
                    heapq.heappush(heap, (end, one[1]))
                taken += [f"{name} {number}" for _, number in sorted(chosen, key=lambda one: one[1])]
            people[o] = tuple(taken)
        return Schedule(
            assignments=tuple(
                Assignment(
                    job=self.jobs[step.job].name,
                    operation=step.name,
                    machine=self.machines[machine].name,
                    start=start,
                    end=end,
                    operators=people.get(step.number, ()),
                )
                for step, (machine, start, end) in zip(self.steps, plan, strict=True)
            )
        )

    def plan(self, schedule: Schedule) -> Plan:
        """A complete schedule as numbers."""
        rows = schedule.by_operation
        found = []
        for step in self.steps:
            one = rows[self.jobs[step.job].name, step.name]
            found.append((self.machine_number[one.machine], one.start, one.end))
        return found


class Timeline:
    """When a machine with certain operators works: closed spans may interrupt, blocked ones (maintenance) may not."""

    def __init__(self, machine: Machine, pools: Iterable[Operators]) -> None:
        resources: list[Machine | Operators] = [machine, *pools]
        self._sources = [(one.calendar, one.breaks) for one in resources]
        self._maintenance = machine.maintenance
        self.always = not any(calendar is not None or breaks for calendar, breaks in self._sources)
        self.always = self.always and not machine.maintenance
        windows = [w for calendar, breaks in self._sources for w in (*(calendar or ()), *breaks)]
        self._period = max((w.every or w.end for w in (*windows, *machine.maintenance)), default=0)
        self._until = 0
        self._closed: list[tuple[int, int]] = []
        self._blocked: list[tuple[int, int]] = []

    def spans(self, until: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Closed and blocked spans that start before `until`, each disjoint and ascending."""
        if until > self._until:
            self._until = max(until, 2 * self._until)
            closed: list[tuple[int, int]] = []
            for calendar, breaks in self._sources:
                closed += _occurrences(breaks, self._until)
                if calendar is not None:
                    edge = 0
                    for start, end in merged(_occurrences(calendar, self._until)):
                        closed.append((edge, start))
                        edge = end
                    repeats = any(window.every for window in calendar)
                    closed.append((edge, max(edge, self._until) if repeats else NEVER))
            self._closed = merged(span for span in closed if span[0] < span[1])
            self._blocked = merged(_occurrences(self._maintenance, self._until))
        return self._closed, self._blocked

    def fit(self, start: int, duration: int, interruptible: bool) -> tuple[int, int] | None:
        """The earliest (start, end) at or after `start`; None if there is none."""
        if self.always:
            return start, start + duration
        horizon = start + 4 * duration + 1
        # What does not fit in 64 of its longest periods never will.
        last = start + 64 * (duration + self._period)
        while True:
            closed, blocked = self.spans(horizon)
            found = self._fit(start, duration, interruptible, closed, blocked)
            if found[1] <= horizon:
                return found
            if found[1] >= NEVER or horizon > last:
                return None
            horizon = 2 * horizon

    @staticmethod
    def _fit(
        start: int,
        duration: int,
        interruptible: bool,
        closed: list[tuple[int, int]],
        blocked: list[tuple[int, int]],
    ) -> tuple[int, int]:
        while True:
            index = bisect_right(closed, (start, NEVER)) - 1
            if index >= 0 and closed[index][1] > start:
                start = closed[index][1]
            end = start + duration
            index = bisect_right(closed, (start, NEVER))
            if interruptible:
                while index < len(closed) and closed[index][0] < end:
                    end += closed[index][1] - closed[index][0]
                    index += 1
            elif index < len(closed) and closed[index][0] < end:
                start = closed[index][1]
                continue
            hit = next((span for span in blocked if span[0] < end and span[1] > start), None)
            if hit is None or start >= NEVER:
                return start, end
            start = hit[1]


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The union of spans, disjoint and ascending."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def _occurrences(windows: Iterable[Window], until: int) -> list[tuple[int, int]]:
    return [span for window in windows for span in window.until(until)]
