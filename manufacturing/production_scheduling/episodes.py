"""Dispatching of job shops as one compiled loop, for training, for random times, and for the benchmark.

It is the event simulator of `dispatch.py` for what has no calendars, setups, operators or batches: non-delay, so that
no machine is idle while something waits for it. A run of a 10 x 10 shop takes 0.04 ms with a rule, 0.1 ms with the
network.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from common.errors import UsageError
from manufacturing.production_scheduling.compiled import compiled
from manufacturing.production_scheduling.policy import DUE, FEATURES, Network, describe, relate, score
from manufacturing.production_scheduling.problem import Problem
from manufacturing.production_scheduling.shop import Shop


class JobShop(NamedTuple):
    """A job shop, flexible or not: operation o of N may run on `machine[at[o] : at[o + 1]]` for `duration`.

    Operations of job j are `first[j] : first[j + 1]`, in order; int64, `due` (jobs,) float64.
    """

    first: np.ndarray
    at: np.ndarray
    machine: np.ndarray
    duration: np.ndarray
    release: np.ndarray
    lag: np.ndarray
    due: np.ndarray
    machines: int


class Record(NamedTuple):
    """What a run decided: features float32 of all queues one after the other, where each begins, which was chosen."""

    rows: np.ndarray
    begin: np.ndarray
    chosen: np.ndarray


def job_shop(problem: Problem) -> JobShop:
    """The arrays of a problem; raises `UsageError` when it is more than a (flexible) job shop."""
    shop = Shop(problem)
    plain = all(
        m.calendar is None and not m.breaks and not m.maintenance and not m.setups and m.capacity == 1
        for m in shop.machines
    )
    chains = all(
        step.before == (() if step.number == shop.first[step.job] else (step.number - 1,)) and not step.pools
        for step in shop.steps
    )
    early = all(
        step.earliest == shop.jobs[step.job].release for step in shop.steps if step.number != shop.first[step.job]
    )
    if not (plain and chains and early) or problem.plan is not None:
        raise UsageError(
            "this simulator takes job shops only", where=problem.name, expected="no calendars, setups or operators"
        )
    tails = shop.tails()
    due = [
        float(job.due) if job.due is not None else job.release + DUE * tails[first]
        for job, first in zip(shop.jobs, shop.first, strict=False)
    ]
    return JobShop(
        first=np.array(shop.first),
        at=np.cumsum([0, *(len(step.options) for step in shop.steps)]),
        machine=np.array([m for step in shop.steps for m in step.options]),
        duration=np.array([t for step in shop.steps for t in step.options.values()]),
        release=np.array([shop.steps[first].earliest for first in shop.first[:-1]]),
        lag=np.array([step.lag for step in shop.steps]),
        due=np.array(due),
        machines=len(shop.machines),
    )


def random_shop(rng: np.random.Generator, jobs: int, machines: int, flexible: bool = False) -> JobShop:
    """Times U(1, 99) and random routes through all machines, as Taillard's (EJOR 64, 1993), by another generator.

    A flexible one has 1 to 3 machines for each operation, the others with 0.8 to 1.25 times its time.
    """
    times = rng.integers(1, 100, (jobs, machines))
    routes = np.argsort(rng.random((jobs, machines)), axis=1)
    count = rng.integers(1, min(3, machines) + 1, jobs * machines) if flexible else np.ones(jobs * machines, int)
    machine, duration = [], []
    for o, (own, time) in enumerate(zip(routes.ravel(), times.ravel(), strict=True)):
        others = rng.choice(np.delete(np.arange(machines), own), count[o] - 1, replace=False) if count[o] > 1 else []
        machine += [own, *others]
        duration += [time, *(max(1, round(time * factor)) for factor in rng.uniform(0.8, 1.25, count[o] - 1))]
    at = np.cumsum([0, *count])
    least = np.minimum.reduceat(np.array(duration), at[:-1]).reshape(jobs, machines)
    return JobShop(
        first=np.arange(0, jobs * machines + 1, machines),
        at=at,
        machine=np.array(machine),
        duration=np.array(duration, dtype=np.int64),
        release=np.zeros(jobs, np.int64),
        lag=np.zeros(jobs * machines, np.int64),
        due=DUE * least.sum(axis=1),
        machines=machines,
    )


def run(shop: JobShop, net: Network, *, actual: np.ndarray | None = None, seed: int = -1) -> int:
    """The makespan; greedy, or for a seed from 0 with choices drawn from the softmax of the scores.

    `actual` int64 (options,) are the times that operations really take; who decides knows only the planned ones.
    """
    return _run(shop, net, shop.duration if actual is None else actual, _generator(seed), _NOTHING)[0]


def best_of(shop: JobShop, net: Network, samples: int, seed: int) -> int:
    """The best makespan of one greedy run and `samples` - 1 drawn ones."""
    return min(run(shop, net, seed=-1 if k == 0 else seed * samples + k) for k in range(samples))


def recorded(shop: JobShop, net: Network, seed: int) -> tuple[int, Record]:
    """The makespan of a drawn run, and its decisions between two operations or more."""
    n = len(shop.lag)
    most = len(shop.first) - 1
    record = Record(np.empty((n * most, len(FEATURES)), np.float32), np.zeros(n + 1, np.int64), np.zeros(n, np.int64))
    makespan, steps = _run(shop, net, shop.duration, _generator(seed), record)
    return makespan, Record(record.rows[: record.begin[steps]], record.begin[: steps + 1], record.chosen[:steps])


_NOTHING = Record(np.empty((0, len(FEATURES)), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64))


def _generator(seed: int) -> np.ndarray:
    """State of a generator, 0: no drawing."""
    return np.array([np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] | 1 if seed >= 0 else 0], np.uint64)


@compiled
def _gumbel(random):
    """A draw of the Gumbel distribution (xorshift64*)."""
    x = random[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    random[0] = x
    uniform = (np.float64((x * np.uint64(2685821657736338717)) >> np.uint64(11)) + 0.5) / 9007199254740992.0
    return -np.log(-np.log(uniform))


@compiled
def _run(shop, net, actual, random, record):
    first, at, machine, duration, machines = shop.first, shop.at, shop.machine, shop.duration, shop.machines
    jobs, n = len(first) - 1, len(shop.lag)
    draws, keeps = random[0] != 0, len(record.begin) > 0

    # What does not change: shortest durations, tails, the fastest machine, and scales.
    least, fastest, tail = np.empty(n, np.int64), np.empty(n, np.int64), np.zeros(n, np.int64)
    load = np.zeros(machines)
    total, longest, most = 0.0, 0.0, 0.0
    for o in range(n):
        least[o] = duration[at[o]]
        fastest[o] = machine[at[o]]
        for k in range(at[o], at[o + 1]):
            load[machine[k]] += duration[k] / (at[o + 1] - at[o])
            if duration[k] < least[o]:
                least[o], fastest[o] = duration[k], machine[k]
        total += least[o]
    for j in range(jobs):
        behind = 0
        for o in range(first[j + 1] - 1, first[j] - 1, -1):
            behind += least[o] + (shop.lag[o] if o + 1 < first[j + 1] else 0)
            tail[o] = behind
        longest, most = max(longest, behind), max(most, first[j + 1] - first[j])
    mean = max(total / n, 1.0)

    step = first[:-1].copy()
    ready = shop.release.copy()
    waits = np.zeros(jobs, np.bool_)
    option = np.zeros(jobs, np.int64)
    free, work = np.zeros(machines, np.int64), np.zeros(machines, np.int64)
    queue = np.empty(jobs, np.int64)
    rows = np.zeros((jobs, 16))
    done, makespan, steps, written, now = 0, 0, 0, 0, np.int64(0)
    while done < n:
        # The next moment at which something arrives, or a machine is free for what waits.
        moment = np.int64(1 << 60)
        for j in range(jobs):
            if step[j] < first[j + 1]:
                event = max(now, free[machine[option[j]]]) if waits[j] else ready[j]
                moment = min(moment, event)
        now = moment
        for j in range(jobs):
            if step[j] < first[j + 1] and not waits[j] and ready[j] <= now:
                best, o = np.int64(1 << 60), step[j]
                for k in range(at[o], at[o + 1]):
                    end = max(now, free[machine[k]]) + work[machine[k]] + duration[k]
                    if end < best or (end == best and duration[k] < duration[option[j]]):
                        best, option[j] = end, k
                waits[j] = True
                work[machine[option[j]]] += duration[option[j]]
        for m in range(machines):
            if free[m] > now:
                continue
            count = 0
            for j in range(jobs):
                if waits[j] and machine[option[j]] == m:
                    queue[count] = j
                    count += 1
            if count == 0:
                continue
            chosen = queue[0]
            if count > 1:
                heaviest, bound = 1.0, 0.0
                for other in range(machines):
                    heaviest = max(heaviest, load[other])
                for j in range(jobs):
                    rest = tail[step[j]] if step[j] < first[j + 1] else 0
                    bound = max(bound, max(ready[j], now) + rest)
                bound = max(bound, now + heaviest)
                for i in range(count):
                    j = queue[i]
                    o = step[j]
                    time = duration[option[j]]
                    has = o + 1 < first[j + 1]
                    following = fastest[o + 1] if has else 0
                    describe(
                        rows[i],
                        float(time),
                        float(tail[o]),
                        float(first[j + 1] - o),
                        float(now - ready[j]),
                        count / jobs,
                        float(least[o + 1]) if has else -1.0,
                        float(now + time - free[following]) if has else 0.0,
                        float(work[following]) if has else 0.0,
                        load[following] / heaviest if has else 0.0,
                        load[m] / heaviest,
                        (now + tail[o]) / bound,
                        0.0,
                        shop.due[j] - now - tail[o],
                        mean,
                        longest,
                        float(most),
                    )
                relate(rows, count)
                scores = score(rows[:count], net)
                best_i = 0
                if draws:
                    for i in range(count):
                        scores[i] += _gumbel(random)
                for i in range(1, count):
                    if scores[i] > scores[best_i]:
                        best_i = i
                chosen = queue[best_i]
                if keeps:
                    for i in range(count):
                        for f in range(16):
                            record.rows[written + i, f] = rows[i, f]
                    record.chosen[steps] = best_i
                    written += count
                    steps += 1
                    record.begin[steps] = written
            o = step[chosen]
            for k in range(at[o], at[o + 1]):
                load[machine[k]] -= duration[k] / (at[o + 1] - at[o])
            work[m] -= duration[option[chosen]]
            end = now + actual[option[chosen]]
            free[m] = end
            makespan = max(makespan, end)
            ready[chosen] = end + shop.lag[o]
            step[chosen] += 1
            waits[chosen] = False
            if step[chosen] < first[chosen + 1]:
                option[chosen] = at[step[chosen]]
            done += 1
    return makespan, steps


assert len(FEATURES) == 16, "the compiled loop has it as a number"
