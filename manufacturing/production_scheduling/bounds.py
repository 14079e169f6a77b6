"""Lower bounds that take no search: heads and tails, and Jackson's preemptive schedule of each machine."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from manufacturing.production_scheduling.shop import Shop


def lower_bound(shop: Shop) -> int:
    """A bound on the objective of every feasible schedule, in O(n log n)."""
    heads, tails = earliest_starts(shop), shop.tails()
    weights = shop.problem.objective.weights
    ends = [0] * len(shop.jobs)
    for step in shop.steps:
        end = shop.frozen[step.number][2] if step.number in shop.frozen else heads[step.number] + step.shortest
        ends[step.job] = max(ends[step.job], end)
    found = 0
    if "makespan" in weights:
        found += weights["makespan"] * max(max(ends), *_machines(shop, heads, tails))
    if "tardiness" in weights:
        late = (
            job.weight * max(0, end - job.due) for job, end in zip(shop.jobs, ends, strict=True) if job.due is not None
        )
        found += weights["tardiness"] * sum(late)
    if "flow" in weights:
        flow = (job.weight * (end - job.release) for job, end in zip(shop.jobs, ends, strict=True))
        found += weights["flow"] * sum(flow)
    return found


def earliest_starts(shop: Shop) -> list[int]:
    """The head of each operation: its earliest start when every machine is free."""
    found = [0] * len(shop)
    for o in shop.order:
        step = shop.steps[o]
        if o in shop.frozen:
            found[o] = shop.frozen[o][1]
            continue
        ready = max(step.earliest, shop.problem.frozen_until)
        for other in step.before:
            end = shop.frozen[other][2] if other in shop.frozen else found[other] + shop.steps[other].shortest
            ready = max(ready, end + shop.steps[other].lag)
        found[o] = ready
    return found


def _machines(shop: Shop, heads: Sequence[int], tails: Sequence[int]) -> list[int]:
    """The bound of each machine that does one thing at a time, over the operations that nothing else can do."""
    rows: list[list[tuple[int, int, int]]] = [[] for _ in shop.machines]
    for step in shop.steps:
        machine, duration = next(iter(step.options.items()))
        if len(step.options) == 1 and shop.machines[machine].capacity == 1 and step.number not in shop.frozen:
            rows[machine].append((heads[step.number], duration, tails[step.number] - duration))
    return [jackson(row) for row in rows if row] or [0]


def jackson(rows: Sequence[tuple[int, int, int]]) -> int:
    """The makespan of Jackson's preemptive schedule of (head, duration, tail): longest tail first.

    It is the optimum of one machine with preemption (Carlier, EJOR 11, 1982).
    """
    waiting: list[tuple[int, int]] = []
    found, now = 0, 0
    arrivals = sorted(rows)
    index = 0
    while index < len(arrivals) or waiting:
        if not waiting:
            now = max(now, arrivals[index][0])
        while index < len(arrivals) and arrivals[index][0] <= now:
            _, duration, tail = arrivals[index]
            heapq.heappush(waiting, (-tail, duration))
            index += 1
        tail, left = waiting[0]
        until = min(now + left, arrivals[index][0]) if index < len(arrivals) else now + left
        heapq.heappop(waiting)
        if until < now + left:
            heapq.heappush(waiting, (tail, left - (until - now)))
        else:
            found = max(found, until - tail)
        now = until
    return found


def horizon(shop: Shop, objective: int | None = None) -> int:
    """By when all plans end that are worth looking at.

    That is when all is done if one thing is done after the other, in working time; and where the makespan has a weight,
    plans better than `objective` cannot end later than it.
    """
    if shop.serial_end is None:
        shop.serial_end = _serial_end(shop)
    weight = shop.problem.objective.makespan
    if weight and objective is not None:
        return max(min(objective // weight, shop.serial_end), shop.problem.frozen_until)
    return shop.serial_end


def _serial_end(shop: Shop) -> int:
    setups = max((t for m in shop.machines for row in m.setups.values() for t in row.values()), default=0)
    now = max((step.earliest for step in shop.steps), default=0)
    now = max(now, shop.problem.frozen_until, *(end for _, _, end in shop.frozen.values()), 0)
    for step in shop.steps:
        fits = [
            shop.timeline(step, machine).fit(now + setups, duration, step.interruptible)
            for machine, duration in step.options.items()
        ]
        now = max((fitted[1] for fitted in fits if fitted), default=now) + step.lag
    if shop.problem.plan is not None:
        now = max(now, shop.problem.plan.makespan)
    return now
