"""A plan under random processing times: machines, sequences and operators stay, all starts as soon as it can.

An operation begins when its job, its machine (with the setup) and its operators have ended what the plan has before it,
and when its planned time fits into the calendar. Once begun it goes on until it is done: where it takes longer than
planned, it waits through breaks, closed time and maintenance and goes on afterwards. With the planned times the
simulation gives the plan again, or an earlier one where the plan waits for nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from manufacturing.production_scheduling.compiled import compiled
from manufacturing.production_scheduling.durations import Times, options
from manufacturing.production_scheduling.problem import Problem, Schedule
from manufacturing.production_scheduling.shop import NEVER, Shop, merged

HORIZON = 8
"""Times the makespan of the plan: calendars are looked up until then, and all is open afterwards."""


@dataclass(frozen=True)
class Floor:
    """A plan as arrays, over N operations in the problem's order.

    `order` is by planned start. Operation o waits for `before[at[o] : at[o + 1]]` with `delay`, and for `earliest`.
    `leader` is the first of its batch, whose time is that of all. Spans of calendar `calendar[o]` (-1: always open)
    are `spans[span_at[c] : span_at[c + 1]]`: start, end, and 1 where it is maintenance. `option` is the row in `Times`.
    """

    order: np.ndarray
    at: np.ndarray
    before: np.ndarray
    delay: np.ndarray
    earliest: np.ndarray
    planned: np.ndarray
    leader: np.ndarray
    interruptible: np.ndarray
    calendar: np.ndarray
    span_at: np.ndarray
    spans: np.ndarray
    job: np.ndarray
    machine: np.ndarray
    option: np.ndarray

    @classmethod
    def of(cls, problem: Problem, schedule: Schedule) -> Floor:
        """From a feasible schedule; `problem` has the durations that it was made with."""
        shop = Shop(problem)
        plan = shop.plan(schedule)
        n = len(shop)
        starts = np.array([start for _, start, _ in plan])
        order = np.lexsort((np.arange(n), np.array([end for *_, end in plan]), starts))
        earliest = np.array([step.earliest for step in shop.steps])
        for o in range(n):
            limit = starts[o] if o in shop.frozen else problem.frozen_until
            earliest[o] = max(earliest[o], limit)
        batches = _batches(shop, plan, order)
        arcs = _arcs(shop, schedule, batches, order, earliest)
        calendar, span_at, spans = _calendars(shop, plan, HORIZON * schedule.makespan + 1)
        at = np.cumsum([0, *(len(arcs[o]) for o in range(n))])
        flat = [pair for o in range(n) for pair in sorted(arcs[o].items())]
        row = {(job.name, name, machine): i for i, (job, name, _, machine) in enumerate(options(problem))}
        keys = [(shop.jobs[s.job].name, s.name, shop.machines[plan[s.number][0]].name) for s in shop.steps]
        return cls(
            order=order,
            at=at,
            before=np.array([other for other, _ in flat], np.int64),
            delay=np.array([delay for _, delay in flat], np.int64),
            earliest=earliest,
            planned=np.array([step.options[plan[step.number][0]] for step in shop.steps]),
            leader=np.array([batches[o][0] for o in range(n)]),
            interruptible=np.array([step.interruptible for step in shop.steps]),
            calendar=calendar,
            span_at=span_at,
            spans=spans,
            job=np.array([step.job for step in shop.steps]),
            machine=np.array([machine for machine, *_ in plan]),
            option=np.array([row[key] for key in keys]),
        )

    def run(self, actual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Starts and ends int64 (draws, N) of operations that work for `actual` int64 (draws, N), each 1 or more."""
        starts, ends = np.zeros(actual.shape, np.int64), np.zeros(actual.shape, np.int64)
        _run(
            self.order,
            self.at,
            self.before,
            self.delay,
            self.earliest,
            self.planned,
            self.leader,
            self.interruptible,
            self.calendar,
            self.span_at,
            self.spans,
            np.ascontiguousarray(actual, np.int64),
            starts,
            ends,
        )
        return starts, ends

    def job_ends(self, actual: np.ndarray) -> np.ndarray:
        """Ends int64 (draws, jobs): of the last operation of each job."""
        first = np.flatnonzero(np.diff(self.job, prepend=-1))
        return np.maximum.reduceat(self.run(actual)[1], first, axis=1)

    def draw(self, times: Times, base: np.ndarray, rng: np.random.Generator, draws: int) -> np.ndarray:
        """Random working times int64 (draws, N); `base` (N,) are the durations that the ratios of `times` multiply."""
        ratio = times.rows(self.option).draw(rng, draws, self.machine)
        return np.maximum(1, np.rint(base * ratio)).astype(np.int64)


def _batches(shop: Shop, plan: list[tuple[int, int, int]], order: np.ndarray) -> list[list[int]]:
    """For each operation all that are in its batch, itself too."""
    together: dict[tuple[int, int, int, str], list[int]] = defaultdict(list)
    found: list[list[int]] = [[o] for o in range(len(plan))]
    for o in order.tolist():
        step, placed = shop.steps[o], plan[o]
        if step.batch and shop.machines[placed[0]].capacity > 1:
            rows = together[(*placed, step.batch)]
            rows.append(o)
            found[o] = rows
    return found


def _arcs(
    shop: Shop, schedule: Schedule, batches: list[list[int]], order: np.ndarray, earliest: np.ndarray
) -> list[dict[int, int]]:
    """For each operation the operations that it waits for, with delays; `earliest` gets the first setups."""
    arcs: list[dict[int, int]] = [{} for _ in shop.steps]

    def wait(o: int, other: int, delay: int) -> None:
        for one in batches[o]:
            if other not in batches[o]:
                arcs[one][other] = max(delay, arcs[one].get(other, 0))

    machines: dict[str, list[int]] = defaultdict(list)
    people: dict[str, list[int]] = defaultdict(list)
    for o in order.tolist():
        step = shop.steps[o]
        one = schedule.by_operation[shop.jobs[step.job].name, step.name]
        for other in step.before:
            wait(o, other, shop.steps[other].lag)
        if batches[o][0] == o:
            machines[one.machine].append(o)
        for person in one.operators:
            people[person].append(o)
    for name, rows in machines.items():
        machine = shop.problem.machine[name]
        first = rows[0]
        setup = machine.setup(machine.initial_family, shop.steps[first].family)
        for o in batches[first]:
            earliest[o] = max(earliest[o], setup)
        for a, b in pairwise(rows):
            wait(b, a, machine.setup(shop.steps[a].family, shop.steps[b].family))
    for rows in people.values():
        for a, b in pairwise(rows):
            wait(b, a, 0)
    for members in batches:  # all of a batch start when the last of them may
        earliest[members] = earliest[members].max()
    return arcs


def _calendars(shop: Shop, plan: list[tuple[int, int, int]], until: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The calendar of each operation, and the spans of all of them, maintenance and closed time joined where they meet
    in time."""
    known: dict[int, int] = {}
    at, spans = [0], []
    calendar = np.full(len(shop), -1)
    for step in shop.steps:
        timeline = shop.timeline(step, plan[step.number][0])
        if timeline.always:
            continue
        if id(timeline) not in known:
            closed, blocked = timeline.spans(until)
            known[id(timeline)] = len(at) - 1
            for start, end in merged([*closed, *blocked]):
                hard = any(a < end and b > start for a, b in blocked)
                spans.append((start, end, int(hard)))
            at.append(len(spans))
        calendar[step.number] = known[id(timeline)]
    return calendar, np.array(at), np.array(spans, np.int64).reshape(-1, 3)


@compiled
def _next(spans, low, high, time):
    """The first span from `low` that ends after `time`."""
    while low < high:
        middle = (low + high) // 2
        if spans[middle, 1] > time:
            high = middle
        else:
            low = middle + 1
    return low


@compiled
def _start(spans, low, high, time, work, interruptible):
    """The first start from `time` at which the planned work fits."""
    i = _next(spans, low, high, time)
    start, left, begun = time, work, False
    while i < high:
        if time < spans[i, 0]:
            if not begun:
                start = time
            room = spans[i, 0] - time
            if left <= room:
                return start
            begun = interruptible and spans[i, 2] == 0
            left = left - room if begun else work
        elif spans[i, 2] == 1:
            begun, left = False, work
        if spans[i, 1] >= 2**52:  # it closes for ever: what does not fit any more is done all the same
            return start if begun else time
        time = spans[i, 1]
        i += 1
    return start if begun else time


@compiled
def _end(spans, low, high, time, work):
    """When work that began at `time` is done, through all that closes."""
    i = _next(spans, low, high, time)
    while i < high and spans[i, 1] < 2**52:
        room = spans[i, 0] - time
        if room > 0:
            if work <= room:
                break
            work -= room
        time = max(time, spans[i, 1])
        i += 1
    return time + work


@compiled
def _run(
    order, at, before, delay, earliest, planned, leader, interruptible, calendar, span_at, spans, actual, starts, ends
):
    for draw in range(len(actual)):
        for k in range(len(order)):
            o = order[k]
            time = earliest[o]
            for a in range(at[o], at[o + 1]):
                ready = ends[draw, before[a]] + delay[a]
                if ready > time:
                    time = ready
            work = actual[draw, leader[o]]
            c = calendar[o]
            if c < 0:
                ends[draw, o] = time + work
            else:
                low, high = span_at[c], span_at[c + 1]
                time = _start(spans, low, high, time, planned[o], interruptible[o])
                ends[draw, o] = _end(spans, low, high, time, work)
            starts[draw, o] = time


assert NEVER == 2**52, "compiled loops have it as a number"
