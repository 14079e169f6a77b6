"""Constructive dispatching: an event simulator of the shop floor in which a rule picks what an idle machine does next.

It honours every constraint but deadlines, which only search can, and takes 10 ms for 1,000 operations. The rules are
those of Pinedo, *Scheduling*, 5th ed. (2016), 14.1 and 14.2; anything with the signature of `Rule` can take their
place, such as a learnt policy.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import log

from manufacturing.production_scheduling.checker import check
from manufacturing.production_scheduling.shop import Placed, Plan, Shop, Step

Rule = Callable[["Floor", int, list[int]], int]
"""Which of the waiting operations (numbers, never none) the machine does next; the floor's clock is `floor.now`."""


@dataclass
class Floor:
    """The shop floor at one moment of the simulation."""

    shop: Shop
    now: int
    free: list[int]
    """When each machine has done what it began."""
    family: list[str]
    """What each machine is set up for."""
    people: list[list[int]]
    """When each operator of each pool is free again."""
    queues: list[list[int]]
    """Operations that wait for each machine."""
    work: list[int]
    """Sum of durations in each queue."""
    arrived: list[int]
    """When each operation could have begun as to its job."""
    tails: list[int]
    """Least time from the start of each operation to the end of its job."""
    placed: list[Placed | None]

    def due(self, o: int) -> int:
        """When its job should be done: the due date or the deadline, or the end of all that is planned."""
        job = self.shop.jobs[self.shop.steps[o].job]
        found = [limit for limit in (job.due, job.deadline) if limit is not None]
        return min(found) if found else 2**40


def spt(floor: Floor, machine: int, queue: list[int]) -> int:
    """Shortest processing time."""
    steps = floor.shop.steps
    return min(queue, key=lambda o: steps[o].options[machine])


def mwkr(floor: Floor, machine: int, queue: list[int]) -> int:
    """Most work remaining in the job."""
    return max(queue, key=floor.tails.__getitem__)


def edd(floor: Floor, machine: int, queue: list[int]) -> int:
    """Earliest due date; most work remaining where equal."""
    return min(queue, key=lambda o: (floor.due(o), -floor.tails[o]))


def fifo(floor: Floor, machine: int, queue: list[int]) -> int:
    """First come, first served."""
    return min(queue, key=floor.arrived.__getitem__)


def atc(floor: Floor, machine: int, queue: list[int]) -> int:
    """Apparent tardiness cost with setups (Vepsalainen and Morton, 1987; Lee, Bhaskaran and Pinedo, 1997), k = 2."""
    steps, jobs, family = floor.shop.steps, floor.shop.jobs, floor.family[machine]
    mean = max(1.0, floor.work[machine] / len(queue))
    best, chosen = float("inf"), queue[0]
    for o in queue:
        duration = steps[o].options[machine]
        slack = max(0, floor.due(o) - floor.now - floor.tails[o])
        setup = floor.shop.machines[machine].setup(family, steps[o].family)
        # The logarithm of the priority, negated: exponentials of large slack would all be 0.
        weight = max(jobs[steps[o].job].weight, 1e-9)
        rank = slack / (2 * mean) + setup / mean + log(duration) - log(weight)
        if rank < best:
            best, chosen = rank, o
    return chosen


def setup_first(floor: Floor, machine: int, queue: list[int]) -> int:
    """Shortest setup, then most work remaining."""
    steps, one, family = floor.shop.steps, floor.shop.machines[machine], floor.family[machine]
    return min(queue, key=lambda o: (one.setup(family, steps[o].family), -floor.tails[o]))


RULES: dict[str, Rule] = {"mwkr": mwkr, "spt": spt, "atc": atc, "edd": edd, "fifo": fifo, "setup": setup_first}
"""By name."""


def by_rank(rank: Sequence[float]) -> Rule:
    """The rule that follows given ranks, smallest first: the starts of a plan, say."""
    return lambda floor, machine, queue: min(queue, key=rank.__getitem__)


def dispatch(shop: Shop, rule: Rule, machine_of: Sequence[int] | None = None) -> Plan | None:
    """Simulate the floor under a rule; `machine_of` fixes the machine of each operation where it is given.

    Returns None when an operation never fits the calendars of its machines and operators.
    """
    floor = _open(shop)
    waiting = [len(step.before) for step in shop.steps]
    events: list[tuple[int, int, int]] = []
    """(time, 0 and an operation that arrives, or 1 and a machine that is idle): arrivals first."""
    for o, placed in shop.frozen.items():
        floor.placed[o] = placed
    for busy in {placed[0] for placed in shop.frozen.values()}:
        heapq.heappush(events, (floor.free[busy], 1, busy))
    for step in shop.steps:
        if step.number in shop.frozen:
            for other in step.after:
                waiting[other] -= 1
    for step in shop.steps:
        if not waiting[step.number] and step.number not in shop.frozen:
            heapq.heappush(events, (_arrival(floor, step), 0, step.number))
    while events:
        floor.now, kind, which = heapq.heappop(events)
        if kind == 0:
            floor.arrived[which] = floor.now
            machine = machine_of[which] if machine_of else _choose(floor, shop.steps[which])
            if machine is None:
                return None
            floor.queues[machine].append(which)
            floor.work[machine] += shop.steps[which].options[machine]
            which = machine
            if events and events[0][0] == floor.now and events[0][1] == 0:
                heapq.heappush(events, (floor.now, 1, which))
                continue
        machine = which
        if not floor.queues[machine] or floor.free[machine] > floor.now:
            continue
        done = _begin(floor, machine, rule)
        if done is None:
            return None
        heapq.heappush(events, (floor.free[machine], 1, machine))
        for o in done:
            for other in shop.steps[o].after:
                waiting[other] -= 1
                if not waiting[other] and other not in shop.frozen:
                    heapq.heappush(events, (_arrival(floor, shop.steps[other]), 0, other))
    return [one for one in floor.placed if one is not None]


def plans_of(shop: Shop, seconds: float, rules: Sequence[Rule] = tuple(RULES.values())) -> Iterator[Plan]:
    """Plans of several rules, not checked: of one in any case, and of others while time is left.

    None when an operation never fits its calendars.
    """
    began = time.perf_counter()
    for done, rule in enumerate(rules):
        spent = time.perf_counter() - began
        if done and spent * (done + 1) / done > seconds:
            return
        plan = dispatch(shop, rule)
        if plan is None:
            return
        yield plan


def best_of(shop: Shop, seconds: float, rules: Sequence[Rule] = tuple(RULES.values())) -> tuple[Plan, int] | None:
    """The best checked plan of several rules and its objective; None when no rule gives a feasible plan."""
    found: tuple[Plan, int] | None = None
    for plan in plans_of(shop, seconds, rules):
        verdict = check(shop.problem, shop.schedule(plan))
        if verdict.feasible and (found is None or verdict.objective < found[1]):
            found = plan, verdict.objective
    return found


def _open(shop: Shop) -> Floor:
    count = len(shop.machines)
    floor = Floor(
        shop=shop,
        now=shop.problem.frozen_until,
        free=[shop.problem.frozen_until] * count,
        family=[machine.initial_family for machine in shop.machines],
        people=[[shop.problem.frozen_until] * pool.count for pool in shop.pools],
        queues=[[] for _ in range(count)],
        work=[0] * count,
        arrived=[0] * len(shop),
        tails=shop.tails(),
        placed=[None] * len(shop),
    )
    last = [-1] * count
    for o, (machine, start, end) in shop.frozen.items():
        floor.free[machine] = max(floor.free[machine], end)
        if start > last[machine]:
            last[machine], floor.family[machine] = start, shop.steps[o].family
    named = shop.problem.frozen()
    for pool, one in enumerate(shop.pools):
        place = {f"{one.name} {number}": number - 1 for number in range(1, one.count + 1)}
        for assignment in named.values():
            for person in assignment.operators:
                if person in place:
                    known = floor.people[pool]
                    known[place[person]] = max(known[place[person]], assignment.end)
    return floor


def _arrival(floor: Floor, step: Step) -> int:
    ready = max(step.earliest, floor.shop.problem.frozen_until)
    for other in step.before:
        placed = floor.placed[other]
        assert placed is not None
        ready = max(ready, placed[2] + floor.shop.steps[other].lag)
    return ready


def _choose(floor: Floor, step: Step) -> int | None:
    """The machine that would end it first behind all that waits there; None when it fits on none."""
    if len(step.options) == 1:
        return next(iter(step.options))
    best, chosen = None, None
    for machine, duration in step.options.items():
        begin = max(floor.now, floor.free[machine]) + floor.work[machine]
        fitted = floor.shop.timeline(step, machine).fit(begin, duration, step.interruptible)
        if fitted and (best is None or (fitted[1], duration) < best):
            best, chosen = (fitted[1], duration), machine
    return chosen


def _begin(floor: Floor, machine: int, rule: Rule) -> list[int] | None:
    """Start what the rule picks, and what may share its batch; None when it never fits."""
    shop, queue = floor.shop, floor.queues[machine]
    first = queue[0] if len(queue) == 1 else rule(floor, machine, queue)
    one, step = shop.machines[machine], shop.steps[first]
    batch, size = [first], step.size
    if one.capacity > 1 and step.batch:
        # Members need the same operators' calendars, so that one start suits all of them.
        need = dict(step.pools)
        for o in queue:
            other = shop.steps[o]
            alike = (other.batch, other.family, other.interruptible) == (step.batch, step.family, step.interruptible)
            if o == first or not alike or [p for p, _ in other.pools] != [p for p, _ in step.pools]:
                continue
            enough = all(need[pool] + count <= shop.pools[pool].count for pool, count in other.pools)
            if size + other.size <= one.capacity and enough:
                batch.append(o)
                size += other.size
                for pool, count in other.pools:
                    need[pool] += count
    setup = one.setup(floor.family[machine], step.family)
    start = max(floor.now, floor.free[machine] + setup)
    for pool, _ in step.pools:
        count = sum(dict(shop.steps[o].pools)[pool] for o in batch)
        start = max(start, sorted(floor.people[pool])[count - 1])
    fitted = shop.timeline(step, machine).fit(start, step.options[machine], step.interruptible)
    if fitted is None:
        return None
    start, end = fitted
    for o in batch:
        floor.placed[o] = machine, start, end
        queue.remove(o)
        floor.work[machine] -= shop.steps[o].options[machine]
        for pool, count in shop.steps[o].pools:
            people = floor.people[pool]
            for person in sorted(range(len(people)), key=people.__getitem__)[:count]:
                people[person] = end
    floor.free[machine], floor.family[machine] = end, step.family
    return batch
