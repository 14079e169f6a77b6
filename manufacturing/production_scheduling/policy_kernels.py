"""The compiled loops of the dispatching policy: features of waiting operations, their scores, and whole runs.

numba's cache of a function does not notice when what it calls in another file changes, so all of it is in one file.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manufacturing.production_scheduling.compiled import compiled

FEATURES = (
    "duration",
    "tail",
    "operations_left",
    "waited",
    "queue",
    "next_duration",
    "next_idle",
    "next_queue",
    "next_load",
    "own_load",
    "bound",
    "setup",
    "urgency",
    "duration_in_queue",
    "tail_in_queue",
    "has_next",
)
"""`tail` is the work from here to the end of the job; `next_idle` how long the machine of the next operation will have
been idle when this one ends; `bound` when the job ends at best, over a bound for the makespan; `urgency` the logarithm
of the index of apparent tardiness cost (Vepsalainen & Morton, 1987)."""
COUNT = len(FEATURES)


class JobShop(NamedTuple):
    """A job shop, flexible or not: operation o of N may run on `machine[at[o] : at[o + 1]]` for `duration`.

    Operations of job j are `first[j] : first[j + 1]`, in order. Machine m needs `setup[m, a, b]` between operations of
    `family` a and b, and is set up for `mounted[m]` at first; int64, `due` (jobs,) float64.
    """

    first: np.ndarray
    at: np.ndarray
    machine: np.ndarray
    duration: np.ndarray
    release: np.ndarray
    lag: np.ndarray
    due: np.ndarray
    family: np.ndarray
    setup: np.ndarray
    mounted: np.ndarray


class Record(NamedTuple):
    """What a run decided: features float32 of all queues one after the other, where each begins, which was chosen."""

    rows: np.ndarray
    begin: np.ndarray
    chosen: np.ndarray


class Network(NamedTuple):
    """float64: `linear` (features,), `first` (2 x features, hidden), `second` (hidden, hidden), `last` (hidden,)."""

    linear: np.ndarray
    first: np.ndarray
    first_bias: np.ndarray
    second: np.ndarray
    second_bias: np.ndarray
    last: np.ndarray


@compiled
def describe(
    row,
    duration,
    tail,
    operations_left,
    waited,
    queue,
    next_duration,
    next_idle,
    next_queue,
    next_load,
    own_load,
    bound,
    setup,
    slack,
    mean,
    longest,
    most,
):
    """Fill the features of one operation; times are in units of the mean duration or of the longest job."""
    row[0] = duration / mean
    row[1] = tail / longest
    row[2] = operations_left / most
    row[3] = waited / mean
    row[4] = queue
    row[5] = max(next_duration, 0.0) / mean
    row[6] = min(max(next_idle / mean, -5.0), 5.0)
    row[7] = next_queue / mean
    row[8] = next_load
    row[9] = own_load
    row[10] = bound
    row[11] = setup / mean
    row[12] = -np.log(duration / mean) - max(slack, 0.0) / (2 * mean)
    row[15] = 1.0 if next_duration >= 0 else 0.0


@compiled
def relate(rows, count):
    """Fill what compares the first `count` operations of a queue."""
    duration, tail = 0.0, 0.0
    for i in range(count):
        duration += rows[i, 0] / count
        tail += rows[i, 1] / count
    for i in range(count):
        rows[i, 13] = rows[i, 0] / duration
        rows[i, 14] = rows[i, 1] - tail


@compiled
def score(rows, net):
    """float64 (rows,): the scores of a queue."""
    count, features = rows.shape
    hidden = len(net.last)
    found = np.zeros(count)
    for i in range(count):
        for f in range(features):
            found[i] += net.linear[f] * rows[i, f]
    if hidden == 0:
        return found
    base = net.first_bias.copy()
    for f in range(features):
        mean = 0.0
        for i in range(count):
            mean += rows[i, f] / count
        for h in range(hidden):
            base[h] += net.first[features + f, h] * mean
    for i in range(count):
        one = base.copy()
        for f in range(features):
            for h in range(hidden):
                one[h] += net.first[f, h] * rows[i, f]
        two = net.second_bias.copy()
        for h in range(hidden):
            if one[h] > 0:
                for g in range(hidden):
                    two[g] += net.second[h, g] * one[h]
        for g in range(hidden):
            if two[g] > 0:
                found[i] += net.last[g] * two[g]
    return found


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
def run_once(shop, net, actual, random, record):
    """Makespan and number of recorded decisions of one run of a job shop, from time 0 until all is done."""
    first, at, machine, duration, family = shop.first, shop.at, shop.machine, shop.duration, shop.family
    jobs, n, machines = len(first) - 1, len(shop.lag), len(shop.mounted)
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
    mounted = shop.mounted.copy()
    queue = np.empty(jobs, np.int64)
    rows = np.zeros((jobs, COUNT))
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
                        float(shop.setup[m, mounted[m], family[o]]),
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
                        for f in range(COUNT):
                            record.rows[written + i, f] = rows[i, f]
                    record.chosen[steps] = best_i
                    written += count
                    steps += 1
                    record.begin[steps] = written
            o = step[chosen]
            for k in range(at[o], at[o + 1]):
                load[machine[k]] -= duration[k] / (at[o + 1] - at[o])
            work[m] -= duration[option[chosen]]
            # The setup may have begun when the machine was free, before anything waited for it.
            end = max(now, free[m] + shop.setup[m, mounted[m], family[o]]) + actual[option[chosen]]
            free[m], mounted[m] = end, family[o]
            makespan = max(makespan, end)
            ready[chosen] = end + shop.lag[o]
            step[chosen] += 1
            waits[chosen] = False
            if step[chosen] < first[chosen + 1]:
                option[chosen] = at[step[chosen]]
            done += 1
    return makespan, steps
