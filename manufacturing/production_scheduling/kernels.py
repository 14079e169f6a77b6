"""The compiled inner loops of the tabu search for job shops and flexible job shops.

A solution is a linear order of all operations that keeps the order of every job, and a machine for each: it gives each
machine its sequence, and is a topological order of the graph of the solution. Heads and tails are kept exact; after a
move only the part of the order that it touches is sorted again, and heads are recomputed behind it, tails before it:
1.5 µs for 225 operations, where a search from scratch (Kahn) takes four times that.

The neighbourhood is N7 of Zhang, Li, Guan and Rao (Computers & OR 34, 2007), which contains N6 of Balas and
Vazacopoulos (Management Science 44, 1998): on a random critical path an operation moves right behind the last or right
before the first of its block, and the first and last to any place within. Moves are judged by Balas and Vazacopoulos'
estimate. Where there are alternatives, an operation of the path may also go to any place on another machine, judged by
the longest path through it (Mastrolilli and Gambardella, Journal of Scheduling 3, 2000).

Tabu is to put an operation before another that a recent move took from there (Dell'Amico and Trubian, Annals of OR 41,
1993), or back on a machine that it left; forbidding sequences, as Peng, Lü and Cheng do (Computers & OR 53, 2015), ran
in circles on ft10.

It is over 300 lines because numba's cache of a function does not notice when what it calls in another file changes: so
it is one file, with no constant from another.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manufacturing.production_scheduling.compiled import compiled

MAKESPAN, BEST, ITERATION, SINCE, STAMP = range(5)
"""Places in `Walk.meta`: makespan now, the best since `start`, iterations since then and since the best, stamp of
marks."""


class Graph(NamedTuple):
    """A job shop of N operations as arrays of N + 1, the last of which stands for "none".

    `wait` is the transport time from the job's previous operation, `lag` that to the next; `release` the earliest
    start. The alternatives of operation o are the places `option[o]` to `option[o + 1] - 1` of `machines` and
    `durations`; `machine` and `duration` are those of the current solution. `local` numbers the operations of each
    machine from 0, or all where there are alternatives. `first[m]` is where the sequence of machine m begins in
    `Walk.seq`, with a place for "none" before and behind all that it may hold. `tenure` is the least and the most
    iterations that something is tabu.
    """

    duration: np.ndarray
    release: np.ndarray
    wait: np.ndarray
    lag: np.ndarray
    before: np.ndarray
    after: np.ndarray
    machine: np.ndarray
    local: np.ndarray
    first: np.ndarray
    tenure: np.ndarray
    option: np.ndarray
    machines: np.ndarray
    durations: np.ndarray


class Walk(NamedTuple):
    """The current solution: sequences and places in them, ends (heads plus duration), tails (with duration), order.

    `until[a, local of b]` is the iteration until which a must not go before b, `away[a, m]` that until which a must
    not go to machine m.
    """

    seq: np.ndarray
    at: np.ndarray
    end: np.ndarray
    tail: np.ndarray
    order: np.ndarray
    place: np.ndarray
    best: np.ndarray
    best_machine: np.ndarray
    path: np.ndarray
    scratch: np.ndarray
    mark: np.ndarray
    until: np.ndarray
    away: np.ndarray
    random: np.ndarray
    meta: np.ndarray


@compiled
def draw(random, below):
    """A number from 0 to below - 1 (xorshift64*)."""
    x = random[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    random[0] = x
    return np.int64(((x * np.uint64(2685821657736338717)) >> np.uint64(33)) % np.uint64(below))


@compiled
def heads(g, w, start):
    """Recompute ends from a place of the order on."""
    for k in range(start, len(w.order)):
        o = w.order[k]
        head = max(g.release[o], w.end[g.before[o]] + g.wait[o])
        head = max(head, w.end[w.seq[w.at[o] - 1]])
        w.end[o] = head + g.duration[o]


@compiled
def tails(g, w, start):
    """Recompute tails from a place of the order back to its begin."""
    for k in range(start, -1, -1):
        o = w.order[k]
        w.tail[o] = g.duration[o] + max(w.tail[g.after[o]] + g.lag[o], w.tail[w.seq[w.at[o] + 1]])


@compiled
def makespan(g, w):
    """The latest end."""
    found = 0
    for o in range(len(w.order)):
        if w.end[o] > found:
            found = w.end[o]
    return found


@compiled
def start(g, w, order, machine):
    """Take over a solution, given as a linear order and the machine of each operation, and forget what is tabu."""
    n = len(order)
    fill = g.first.copy()
    w.seq[:] = n
    for k in range(n):
        o = order[k]
        w.order[k] = o
        w.best[k] = o
        g.machine[o] = machine[o]
        w.best_machine[o] = machine[o]
        for i in range(g.option[o], g.option[o + 1]):
            if g.machines[i] == machine[o]:
                g.duration[o] = g.durations[i]
        w.place[o] = k
        m = g.machine[o]
        w.seq[fill[m]] = o
        w.at[o] = fill[m]
        fill[m] += 1
    heads(g, w, 0)
    tails(g, w, n - 1)
    w.until[:] = 0
    w.away[:] = 0
    w.meta[ITERATION] = 0
    w.meta[MAKESPAN] = makespan(g, w)
    w.meta[BEST] = w.meta[MAKESPAN]
    w.meta[SINCE] = 0


@compiled
def critical_path(g, w):
    """Fill `path` with a random critical path, last operation first; returns its length."""
    none = len(w.order)
    worst = w.meta[MAKESPAN]
    o, seen = none, 0
    for other in range(none):
        if w.end[other] == worst:
            seen += 1
            if seen == 1 or draw(w.random, seen) == 0:
                o = other
    length = 0
    while o != none:
        w.path[length] = o
        length += 1
        head = w.end[o] - g.duration[o]
        if head == 0:
            break
        a, b = g.before[o], w.seq[w.at[o] - 1]
        by_job = a != none and w.end[a] + g.wait[o] == head
        by_machine = b != none and w.end[b] == head
        if by_job and by_machine and a != b:
            o = a if draw(w.random, 2) == 0 else b
        elif by_machine:
            o = b
        elif by_job:
            o = a
        else:
            break
    return length


@compiled
def later(g, w, a, b, bound):
    """Estimated makespan through what moves when the operation at `a` goes right behind that at `b`."""
    seq, u = w.seq, w.seq[a]
    end = w.end[seq[a - 1]]
    for i in range(a + 1, b + 1):
        o = seq[i]
        head = max(max(g.release[o], w.end[g.before[o]] + g.wait[o]), end)
        w.scratch[i] = head
        end = head + g.duration[o]
    head = max(max(g.release[u], w.end[g.before[u]] + g.wait[u]), end)
    tail = g.duration[u] + max(w.tail[g.after[u]] + g.lag[u], w.tail[seq[b + 1]])
    found = head + tail
    for i in range(b, a, -1):
        if found > bound:
            return found
        o = seq[i]
        tail = g.duration[o] + max(w.tail[g.after[o]] + g.lag[o], tail)
        found = max(found, w.scratch[i] + tail)
    return found


@compiled
def earlier(g, w, a, b, bound):
    """Estimated makespan through what moves when the operation at `b` goes right before that at `a`."""
    seq, v = w.seq, w.seq[b]
    head_v = max(max(g.release[v], w.end[g.before[v]] + g.wait[v]), w.end[seq[a - 1]])
    end = head_v + g.duration[v]
    for i in range(a, b):
        o = seq[i]
        head = max(max(g.release[o], w.end[g.before[o]] + g.wait[o]), end)
        w.scratch[i] = head
        end = head + g.duration[o]
    tail, found = w.tail[seq[b + 1]], 0
    for i in range(b - 1, a - 1, -1):
        o = seq[i]
        tail = g.duration[o] + max(w.tail[g.after[o]] + g.lag[o], tail)
        found = max(found, w.scratch[i] + tail)
        if found > bound:
            return found
    tail = g.duration[v] + max(w.tail[g.after[v]] + g.lag[v], tail)
    return max(found, head_v + tail)


@compiled
def is_tabu(g, w, a, b, forward):
    """Whether a move puts an operation before another that a recent move took from there."""
    now, until = w.meta[ITERATION], w.until
    if forward:
        u = g.local[w.seq[a]]
        for i in range(a + 1, b + 1):
            if until[w.seq[i], u] >= now:
                return True
    else:
        v = w.seq[b]
        for i in range(a, b):
            if until[v, g.local[w.seq[i]]] >= now:
                return True
    return False


@compiled
def forbid(g, w, a, b, forward, time):
    """Forbid for a time to undo a move that is about to be made."""
    until = w.until
    if forward:
        u = w.seq[a]
        for i in range(a + 1, b + 1):
            until[u, g.local[w.seq[i]]] = time
    else:
        v = g.local[w.seq[b]]
        for i in range(a, b):
            until[w.seq[i], v] = time


@compiled
def sort_later(g, w, u, low, high):
    """Bring u, at place `low` of the order, and what follows from it behind all else up to place `high`."""
    order, place, mark = w.order, w.place, w.mark
    w.meta[STAMP] += 1
    stamp = w.meta[STAMP]
    held, write = 0, low
    for k in range(low, high + 1):
        o = order[k]
        if o == u or mark[g.before[o]] == stamp or mark[w.seq[w.at[o] - 1]] == stamp:
            mark[o] = stamp
            w.scratch[held] = o
            held += 1
        else:
            order[write] = o
            place[o] = write
            write += 1
    for k in range(held):
        order[write + k] = w.scratch[k]
        place[w.scratch[k]] = write + k


@compiled
def sort_earlier(g, w, v, low, high):
    """Bring v, at place `high` of the order, and what it follows from before all else down to place `low`."""
    order, place, mark = w.order, w.place, w.mark
    w.meta[STAMP] += 1
    stamp = w.meta[STAMP]
    held, write = 0, high
    for k in range(high, low - 1, -1):
        o = order[k]
        if o == v or mark[g.after[o]] == stamp or mark[w.seq[w.at[o] + 1]] == stamp:
            mark[o] = stamp
            w.scratch[held] = o
            held += 1
        else:
            order[write] = o
            place[o] = write
            write -= 1
    for k in range(held):
        order[write - k] = w.scratch[k]
        place[w.scratch[k]] = write - k


@compiled
def move(g, w, a, b, forward):
    """Move an operation on its machine, and bring order, ends and tails up to date."""
    seq, at = w.seq, w.at
    low, high = w.place[seq[a]], w.place[seq[b]]
    if forward:
        u = seq[a]
        for i in range(a, b):
            seq[i] = seq[i + 1]
            at[seq[i]] = i
        seq[b] = u
        at[u] = b
        sort_later(g, w, u, low, high)
    else:
        v = seq[b]
        for i in range(b, a, -1):
            seq[i] = seq[i - 1]
            at[seq[i]] = i
        seq[a] = v
        at[v] = a
        sort_earlier(g, w, v, low, high)
    heads(g, w, low)
    tails(g, w, high)
    w.meta[MAKESPAN] = makespan(g, w)


@compiled
def transfer(g, w, v, option, to):
    """Move an operation to a place on another machine, and bring order, ends and tails up to date."""
    none = len(w.order)
    seq, at, place = w.seq, w.at, w.place
    i = at[v]
    while seq[i] != none:
        seq[i] = seq[i + 1]
        at[seq[i]] = i
        i += 1
    i = to
    while seq[i] != none:
        i += 1
    while i > to:
        seq[i] = seq[i - 1]
        at[seq[i]] = i
        i -= 1
    seq[to] = v
    at[v] = to
    g.machine[v], g.duration[v] = g.machines[option], g.durations[option]
    a, b = seq[to - 1], seq[to + 1]
    low = high = place[v]
    if a != none and place[a] > place[v]:
        high = place[a]
        sort_later(g, w, v, low, high)
    elif b != none and place[b] < place[v]:
        low = place[b]
        sort_earlier(g, w, v, low, high)
    heads(g, w, low)
    tails(g, w, high)
    w.meta[MAKESPAN] = makespan(g, w)


@compiled
def tabu(g, w, iterations, patience, target):
    """Search from the current solution; the best since `start` is in `best`.

    Ends after `iterations`, after `patience` of them without a better solution, at a makespan of `target`, or where
    there is no move: then the solution is optimal.
    """
    none = len(w.order)
    flexible = len(g.machines) > none
    for _ in range(iterations):
        if w.meta[BEST] <= target or w.meta[SINCE] >= patience:
            return
        w.meta[ITERATION] += 1
        w.meta[SINCE] += 1
        length = critical_path(g, w)
        best, best_a, best_b, best_forward, ties = np.int64(1 << 60), 0, 0, True, 0
        any_a, any_b, any_forward, options = 0, 0, True, 0
        k = length - 1
        while k >= 0:
            # One block: places `low` to `high` of one machine's sequence.
            low = w.at[w.path[k]]
            high = low
            is_first = k == length - 1
            k -= 1
            while k >= 0 and w.at[w.path[k]] == high + 1 and w.path[k] == w.seq[high + 1]:
                high += 1
                k -= 1
            is_last = k < 0
            if high == low:
                continue
            # Any operation right behind the block's last (0), the first behind any (1), any right before the first (2),
            # the last before any (3). The last block's end and the first block's begin cannot help; no move twice.
            for kind in range(4):
                if (is_last and kind in (0, 3)) or (is_first and kind in (1, 2)):
                    continue
                for i in range(low, high + 1):
                    forward = kind < 2
                    a, b = (i, high) if kind in (0, 3) else (low, i)
                    if b - a < (1 if forward else 2) or (a == low and b == high and kind in (1, 2) and not is_last):
                        continue
                    u, v = w.seq[a], w.seq[b]
                    if forward:
                        if g.after[u] != none and w.tail[v] < w.tail[g.after[u]] + g.lag[u]:
                            continue
                        value = later(g, w, a, b, best)
                    else:
                        if g.before[v] != none and w.end[u] < w.end[g.before[v]] + g.wait[v]:
                            continue
                        value = earlier(g, w, a, b, best)
                    options += 1
                    if draw(w.random, options) == 0:
                        any_a, any_b, any_forward = a, b, forward
                    if value > best:
                        continue
                    if value >= w.meta[BEST] and is_tabu(g, w, a, b, forward):
                        continue
                    if value < best:
                        best, ties = value, 0
                    ties += 1
                    if ties == 1 or draw(w.random, ties) == 0:
                        best_a, best_b, best_forward = a, b, forward
        best_option = any_option = -1
        for k in range(length if flexible else 0):
            v = w.path[k]
            before, after = g.before[v], g.after[v]
            ready = max(g.release[v], w.end[before] + g.wait[v])
            rest = w.tail[after] + g.lag[v]
            limit = w.end[after] if after != none else 1 << 60
            head_before = w.end[before] - g.duration[before] if before != none else -1
            for option in range(g.option[v], g.option[v + 1]):
                m = g.machines[option]
                if m == g.machine[v]:
                    continue
                is_away = w.away[v, m] >= w.meta[ITERATION]
                to = g.first[m]
                while True:
                    # Between a and b, unless a may follow from the next operation of the job, or the one before from b.
                    a, b = w.seq[to - 1], w.seq[to]
                    if a != none and w.end[a] - g.duration[a] >= limit:
                        break
                    if b == none or w.end[b] > head_before:
                        value = max(ready, w.end[a]) + g.durations[option] + max(rest, w.tail[b])
                        options += 1
                        if draw(w.random, options) == 0:
                            any_a, any_b, any_option = v, to, option
                        if value <= best and (not is_away or value < w.meta[BEST]):
                            if value < best:
                                best, ties = value, 0
                            ties += 1
                            if ties == 1 or draw(w.random, ties) == 0:
                                best_a, best_b, best_option = v, to, option
                    if b == none:
                        break
                    to += 1
        if options == 0:
            w.meta[SINCE] = patience
            return
        if ties == 0:
            best_a, best_b, best_forward, best_option = any_a, any_b, any_forward, any_option
        tenure = w.meta[ITERATION] + g.tenure[0] + draw(w.random, g.tenure[1] - g.tenure[0] + 1)
        if best_option >= 0:
            w.away[best_a, g.machine[best_a]] = tenure
            transfer(g, w, best_a, best_option, best_b)
        else:
            forbid(g, w, best_a, best_b, best_forward, tenure)
            move(g, w, best_a, best_b, best_forward)
        if w.meta[MAKESPAN] < w.meta[BEST]:
            w.meta[BEST] = w.meta[MAKESPAN]
            w.meta[SINCE] = 0
            for i in range(none):
                w.best[i] = w.order[i]
                w.best_machine[i] = g.machine[i]


@compiled
def distance(g, one, two, machine_one, machine_two):
    """How many pairs of operations on a machine two solutions have the other way round, and operations elsewhere."""
    n = len(one)
    fill = g.first.copy()
    place = np.empty(n, np.int64)
    for k in range(n):
        place[two[k]] = k
    row = np.empty(g.first[-1] + n + 1, np.int64)
    found = 0
    for k in range(n):
        o = one[k]
        m = machine_one[o]
        if m != machine_two[o]:
            found += 1
            continue
        for i in range(g.first[m], fill[m]):
            if row[i] > place[o]:
                found += 1
        row[fill[m]] = place[o]
        fill[m] += 1
    return found
