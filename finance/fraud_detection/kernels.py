"""The compiled inner loops of the online state: one ring of transactions, and a chain through it for each entity.

A transaction has a number that only grows; it lies at `number % capacity`. Each entity (a customer, a terminal) knows
the number of its latest transaction, and each transaction how far back the next older one of every entity of it lies:
the chain is in order of time, so that a transaction that arrives late is put where it belongs. What is older than
`tail` is forgotten, and a chain ends there. To count takes 0.1 µs for each transaction that is seen, and a late one
passes by what is younger in its chains at 13 ns each.

A transaction takes 41 bytes (33 in the ring, 8 in the index of ids; up to 11 where the capacity is no power of two) and
8 for each of its entities, an entity 28 and 12 to 24 in a table of keys.

Entities and transactions are found by 64-bit hashes in tables with linear probing (Knuth, TAOCP 3, 6.4). Two of a
hundred million share a hash with probability 3e-4.

It is over 300 lines because numba's cache of a function does not notice when what it calls in another file changes, and
would run the old one: so it is one file, with no constant from another.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from finance.fraud_detection.compiled import compiled

TAIL, NEXT, WATERMARK, FORGOTTEN, ENTITIES, FREE, GRAVES, WAITING_LABELS, EVICTED_EARLY, LABELS_DROPPED = range(10)
"""Places in `Memory.meta`: oldest and next number, latest time, latest time forgotten or refused, entities ever, free
ones, deleted keys, labels whose transactions have not come, and two counts: of transactions forgotten while they still
mattered, and of such labels dropped for want of room."""
MARK, INCOMPLETE = range(2)
"""Places in `Scratch.told`: stamp of the current walk, and how many transactions, new or looked at, were counted when
something within their horizon had been forgotten."""
NEW, SAME, OTHER, TOO_OLD, FULL, CROWDED, WAITING = range(7)
"""What became of a transaction: new, known with the same or another content, older than kept; no room, no key free (the
caller makes some). Of a label: noted (`NEW`), waiting for its transaction, or too old for one that may still come."""
EMPTY, GRAVE = 0, -1


class Memory(NamedTuple):
    """All of the state as arrays: (capacity,) by transaction, (entities, capacity) by entity of it, (heads,) by entity,
    hash tables, and the labels that wait, in order of their ids."""

    meta: np.ndarray
    time: np.ndarray
    amount: np.ndarray
    label_time: np.ndarray
    id: np.ndarray
    fraud: np.ndarray
    entity: np.ndarray
    back: np.ndarray
    places: np.ndarray
    key: np.ndarray
    head: np.ndarray
    alive: np.ndarray
    free: np.ndarray
    slots: np.ndarray
    wait_id: np.ndarray
    wait_fraud: np.ndarray
    wait_time: np.ndarray


class Scratch(NamedTuple):
    """What a walk along a chain has collected, newest first, (deepest + 1,), and the table of partners it has met."""

    told: np.ndarray
    time: np.ndarray
    amount: np.ndarray
    partner: np.ndarray
    fraud: np.ndarray
    label_time: np.ndarray
    met: np.ndarray
    stamp: np.ndarray


class Plan(NamedTuple):
    """A `Definition` as numbers; `keep` is how far back from the latest time things matter, `largest` the amount that
    counts at most in a sum of squares, `steps` how many transactions are told one by one."""

    partner_of: np.ndarray
    windows: np.ndarray
    risk: np.ndarray
    delay: int
    horizon: int
    keep: int
    deepest: int
    largest: int
    steps: int


@compiled
def aggregate(plan: Plan, seen: Scratch, n: int, t: int, mine: int, out: np.ndarray) -> None:
    """Counts of one entity at `t` into `out` int64 (counts,), from what is in `seen`: the newest `n` of its
    transactions before `t` and within the horizon, of which there may be one more than `deepest`. `mine` is the partner
    of now, -1 where it has no history.

    In `out`: numbers, sums and distinct partners by window; sum of squares, largest, last time (-1: none); known labels
    and frauds by risk window; last and first known fraud (-1), known good ones after the last; and what `tell` tells.
    """
    windows, risk, delay = plan.windows, plan.risk, plan.delay
    size, risks = len(windows), len(risk)
    squares, known = 3 * size, 3 * size + 3
    frauds, last = known + risks, known + 2 * risks
    out[:] = 0
    out[squares + 2] = out[last] = out[last + 1] = -1
    seen.told[MARK] += 1
    mark, room = seen.told[MARK], len(seen.met) - 1
    tie, tied = -1, 0
    for i in range(min(n, plan.deepest)):
        if n > plan.deepest and seen.time[i] == seen.time[plan.deepest]:
            break  # of one millisecond all are seen or none, whatever the order of arrival
        age = t - seen.time[i]
        if age <= windows[size - 1]:
            w = 0
            while age > windows[w]:
                w += 1
            amount = seen.amount[i]
            out[w] += 1
            out[size + w] += amount
            place = (seen.partner[i] * 0x9E3779B97F4A7C1) & room
            while seen.stamp[place] == mark and seen.met[place] != seen.partner[i]:
                place = (place + 1) & room
            if seen.stamp[place] != mark:
                seen.stamp[place], seen.met[place] = mark, seen.partner[i]
                out[2 * size + w] += 1
            bounded = min(amount, plan.largest)
            out[squares] += bounded * bounded
            out[squares + 1] = max(out[squares + 1], amount)
            if out[squares + 2] < 0:
                out[squares + 2] = seen.time[i]
        if delay < age <= delay + risk[risks - 1] and seen.fraud[i] >= 0 and seen.label_time[i] <= t:
            r = 0
            while age > delay + risk[r]:
                r += 1
            out[known + r] += 1
            if seen.fraud[i] == 1:
                out[frauds + r] += 1
                if out[last] < 0:
                    out[last] = seen.time[i]
                    if tie == seen.time[i]:  # good ones of the same millisecond are not after it
                        out[last + 2] -= tied
                out[last + 1] = seen.time[i]
            elif out[last] < 0:
                out[last + 2] += 1
                tied = tied + 1 if tie == seen.time[i] else 1
                tie = seen.time[i]
    if out[last] < 0:
        out[last + 2] = 0
    for w in range(1, size):
        for block in range(3):
            out[block * size + w] += out[block * size + w - 1]
    for r in range(1, risks):
        out[known + r] += out[known + r - 1]
        out[frauds + r] += out[frauds + r - 1]
    if plan.steps > 0:
        tell(plan, seen, n, mine, out[last + 3 :])


@compiled
def tell(plan: Plan, seen: Scratch, n: int, mine: int, out: np.ndarray) -> None:
    """The newest `steps` of what is in `seen`, in the order of `Definition`: times (-1: none), amounts, and 1 where the
    partner is `mine`."""
    steps, taken = plan.steps, 0
    out[:steps] = -1
    for i in range(min(n, plan.deepest)):
        if n > plan.deepest and seen.time[i] == seen.time[plan.deepest]:
            break
        if taken == steps and seen.time[i] < out[steps - 1]:
            break
        same = int(mine != -1 and seen.partner[i] == mine)
        at = taken
        while at > 0 and (seen.time[i], seen.amount[i], same) > (
            out[at - 1],
            out[steps + at - 1],
            out[2 * steps + at - 1],
        ):
            at -= 1
        if at == steps:
            continue
        taken = min(taken + 1, steps)
        for block in range(0, 3 * steps, steps):
            for k in range(block + taken - 1, block + at, -1):
                out[k] = out[k - 1]
        out[at], out[steps + at], out[2 * steps + at] = seen.time[i], seen.amount[i], same


@compiled
def count(memory: Memory, plan: Plan, seen: Scratch, t: int, keys: np.ndarray, out: np.ndarray) -> None:
    """Counts int64 (entities, counts) at `t` for entities with these `keys` uint64 (entities,)."""
    capacity, tail, oldest = len(memory.time), memory.meta[TAIL], t - plan.horizon
    for e in range(len(keys)):
        entity = find_entity(memory, keys[e]) if keys[e] != 0 else -1
        at = memory.head[entity] if entity >= 0 else -1
        n = 0
        while at >= tail and n <= plan.deepest:
            place = at % capacity
            if memory.time[place] < oldest:
                break
            if memory.time[place] < t:
                seen.time[n], seen.amount[n] = memory.time[place], memory.amount[place]
                seen.partner[n] = memory.entity[plan.partner_of[e], place]
                seen.fraud[n], seen.label_time[n] = memory.fraud[place], memory.label_time[place]
                n += 1
            if memory.back[e, place] == 0:
                break
            at -= memory.back[e, place]
        other, mine = keys[plan.partner_of[e]], -1
        if plan.steps > 0 and other != 0:
            mine = find_entity(memory, other)
        aggregate(plan, seen, n, t, mine, out[e])


@compiled
def count_all(
    memory: Memory, plan: Plan, seen: Scratch, time: np.ndarray, keys: np.ndarray, counts: np.ndarray
) -> None:
    """`count` for rows of `time` (rows,) and `keys` (rows, entities) into `counts` (rows, entities, counts)."""
    for i in range(len(time)):
        seen.told[INCOMPLETE] += memory.meta[FORGOTTEN] >= time[i] - plan.horizon
        count(memory, plan, seen, time[i], keys[i], counts[i])


@compiled
def ingest(
    memory: Memory,
    plan: Plan,
    seen: Scratch,
    first: int,
    forced: bool,
    fraud: np.ndarray,
    id: np.ndarray,
    time: np.ndarray,
    amount: np.ndarray,
    keys: np.ndarray,
    counts: np.ndarray,
    became: np.ndarray,
) -> int:
    """Take in rows from `first` on, one after the other, each counted as if it was not remembered.

    Row `i` is a transaction where `fraud[i] < 0` (with `keys` uint64 (rows, entities)), else a label known at
    `time[i]`. Fills `counts` int64 (rows, entities, counts), of no row when it has length 0, and `became` (rows,).
    Returns the row for which the caller has to make room (`FULL`, `CROWDED`), or the number of rows.
    """
    for i in range(first, len(id)):
        if fraud[i] >= 0:
            known = label(memory, id[i], fraud[i], time[i])
            became[i] = NEW if known else _wait(memory, id[i], fraud[i], time[i], plan.keep)
            continue
        became[i] = insert(memory, id[i], time[i], amount[i], keys[i], plan.keep, forced)
        if became[i] == FULL or became[i] == CROWDED:
            return i
        # A transaction does not see itself: the comparison of times is strict.
        if len(counts) > 0:
            seen.told[INCOMPLETE] += became[i] == NEW and memory.meta[FORGOTTEN] >= time[i] - plan.horizon
            count(memory, plan, seen, time[i], keys[i], counts[i])
    return len(id)


@compiled
def insert(memory: Memory, id: int, t: int, amount: int, keys: np.ndarray, keep: int, forced: bool) -> int:
    """Remember a transaction; returns what became of it. What is older than `keep` before the latest is forgotten.

    `forced`: when there is no room the oldest is forgotten though it still matters, and counted.
    """
    meta, capacity = memory.meta, len(memory.time)
    at = find_transaction(memory, id)
    if at >= 0:
        return SAME if _same(memory, at, t, amount, keys) else OTHER
    if t < meta[WATERMARK] - keep:
        meta[FORGOTTEN] = max(meta[FORGOTTEN], t)
        return TOO_OLD
    watermark = max(meta[WATERMARK], t)
    while meta[TAIL] < meta[NEXT] and memory.time[meta[TAIL] % capacity] < watermark - keep:
        _forget(memory)
    if (meta[ENTITIES] - meta[FREE] + meta[GRAVES] + len(keys)) * 3 > 2 * len(memory.slots):
        return CROWDED
    if meta[FREE] < len(keys) and meta[ENTITIES] + len(keys) > len(memory.head):
        return CROWDED
    if meta[NEXT] - meta[TAIL] == capacity:
        if not forced:
            return FULL
        _forget(memory)
        meta[EVICTED_EARLY] += 1
    meta[WATERMARK] = watermark
    number = meta[NEXT]
    place = number % capacity
    meta[NEXT] += 1
    memory.time[place], memory.amount[place], memory.id[place] = t, amount, id
    memory.fraud[place], memory.label_time[place] = -1, 0
    _put_transaction(memory, id, place)
    for e in range(len(keys)):
        memory.entity[e, place], memory.back[e, place] = -1, 0
        if keys[e] != 0:
            memory.entity[e, place] = _enter_entity(memory, keys[e])
            _chain(memory, e, number, t)
    _claim(memory, id)
    return NEW


@compiled
def label(memory: Memory, id: int, fraud: int, label_time: int) -> bool:
    """Note what a transaction turned out to be; False when it is not known. Of two labels the later one holds."""
    place = find_transaction(memory, id)
    if place < 0:
        return False
    if memory.fraud[place] < 0 or label_time >= memory.label_time[place]:
        memory.fraud[place], memory.label_time[place] = fraud, label_time
    return True


@compiled
def find_transaction(memory: Memory, id: int) -> int:
    """The place of a transaction, or -1."""
    room = np.uint64(len(memory.places) - 1)
    at = id & room
    while memory.places[at] != EMPTY:
        if memory.id[memory.places[at] - 1] == id:
            return memory.places[at] - 1
        at = (at + np.uint64(1)) & room
    return -1


@compiled
def find_entity(memory: Memory, key: int) -> int:
    """The number of an entity, or -1."""
    room = np.uint64(len(memory.slots) - 1)
    at = key & room
    while memory.slots[at] != EMPTY:
        if memory.slots[at] != GRAVE and memory.key[memory.slots[at] - 1] == key:
            return memory.slots[at] - 1
        at = (at + np.uint64(1)) & room
    return -1


@compiled
def rebuild_slots(memory: Memory) -> None:
    """Fill the empty table with all entities that have transactions."""
    memory.meta[GRAVES] = 0
    for number in range(memory.meta[ENTITIES]):
        if memory.alive[number] > 0:
            _put_entity(memory, number)


@compiled
def rebuild_places(memory: Memory) -> None:
    """Fill the empty index with all transactions that are remembered."""
    for number in range(memory.meta[TAIL], memory.meta[NEXT]):
        place = number % len(memory.time)
        _put_transaction(memory, memory.id[place], place)


@compiled
def _chain(memory: Memory, e: int, number: int, t: int) -> None:
    """Put a new transaction into the chain of its entity, before those of the same time."""
    capacity, tail, place = len(memory.time), memory.meta[TAIL], number % len(memory.time)
    entity = memory.entity[e, place]
    newer, older = -1, memory.head[entity]
    while older >= tail and memory.time[older % capacity] > t:
        newer = older
        step = memory.back[e, older % capacity]
        older = older - step if step != 0 else -1
    if older >= tail:
        memory.back[e, place] = number - older
    if newer < 0:
        memory.head[entity] = number
    else:
        memory.back[e, newer % capacity] = newer - number


@compiled
def _put_transaction(memory: Memory, id: int, place: int) -> None:
    room = np.uint64(len(memory.places) - 1)
    at = id & room
    while memory.places[at] != EMPTY:
        at = (at + np.uint64(1)) & room
    memory.places[at] = place + 1


@compiled
def _enter_entity(memory: Memory, key: int) -> int:
    """The number of an entity, known or new, that has one transaction more."""
    number, meta = find_entity(memory, key), memory.meta
    if number < 0:
        if meta[FREE] > 0:
            meta[FREE] -= 1
            number = memory.free[meta[FREE]]
        else:
            number = meta[ENTITIES]
            meta[ENTITIES] += 1
        memory.key[number], memory.head[number], memory.alive[number] = key, -1, 0
        _put_entity(memory, number)
    memory.alive[number] += 1
    return number


@compiled
def _put_entity(memory: Memory, number: int) -> None:
    room = np.uint64(len(memory.slots) - 1)
    at = memory.key[number] & room
    while memory.slots[at] != EMPTY and memory.slots[at] != GRAVE:
        at = (at + np.uint64(1)) & room
    if memory.slots[at] == GRAVE:
        memory.meta[GRAVES] -= 1
    memory.slots[at] = number + 1


@compiled
def _same(memory: Memory, place: int, t: int, amount: int, keys: np.ndarray) -> bool:
    if memory.time[place] != t or memory.amount[place] != amount:
        return False
    for e in range(len(keys)):
        entity = memory.entity[e, place]
        if (memory.key[entity] if entity >= 0 else np.uint64(0)) != keys[e]:
            return False
    return True


@compiled
def _forget(memory: Memory) -> None:
    """Drop the oldest transaction; an entity that has no other is dropped with it, and its number is free."""
    meta, place, room = memory.meta, memory.meta[TAIL] % len(memory.time), np.uint64(len(memory.slots) - 1)
    meta[FORGOTTEN] = max(meta[FORGOTTEN], memory.time[place])
    meta[TAIL] += 1
    _close_gap(memory, place)
    for e in range(len(memory.entity)):
        entity = memory.entity[e, place]
        if entity < 0:
            continue
        memory.alive[entity] -= 1
        if memory.alive[entity] == 0:
            at = memory.key[entity] & room
            while memory.slots[at] != entity + 1:
                at = (at + np.uint64(1)) & room
            memory.slots[at] = GRAVE
            meta[GRAVES] += 1
            memory.free[meta[FREE]] = entity
            meta[FREE] += 1


@compiled
def _close_gap(memory: Memory, place: int) -> None:
    """Take a transaction out of the index and move those behind it up (Knuth's algorithm R): no graves pile up."""
    index, room = memory.places, np.uint64(len(memory.places) - 1)
    gap = memory.id[place] & room
    while index[gap] != place + 1:
        gap = (gap + np.uint64(1)) & room
    index[gap] = EMPTY
    at = gap
    while True:
        at = (at + np.uint64(1)) & room
        if index[at] == EMPTY:
            return
        home = memory.id[index[at] - 1] & room
        if ((at - home) & room) >= ((at - gap) & room):
            index[gap] = index[at]
            index[at] = EMPTY
            gap = at


@compiled
def _wait(memory: Memory, id: int, fraud: int, label_time: int, keep: int) -> int:
    """Keep a label until its transaction comes; of two the later one holds."""
    meta = memory.meta
    if label_time < meta[WATERMARK] - keep:
        return TOO_OLD  # a transaction is older than its label, so this one's would be refused
    if meta[WAITING_LABELS] == len(memory.wait_id):
        _drop_labels(memory, keep)
    many = meta[WAITING_LABELS]
    at = np.searchsorted(memory.wait_id[:many], id)
    if at == many or memory.wait_id[at] != id:
        for i in range(many, at, -1):
            _move_label(memory, i - 1, i)
        memory.wait_id[at] = id
        meta[WAITING_LABELS] += 1
    elif label_time < memory.wait_time[at]:
        return WAITING
    memory.wait_fraud[at], memory.wait_time[at] = fraud, label_time
    return WAITING


@compiled
def _claim(memory: Memory, id: int) -> None:
    """Give a new transaction the label that came before it."""
    many = memory.meta[WAITING_LABELS]
    if many == 0:
        return
    at = np.searchsorted(memory.wait_id[:many], id)
    if at < many and memory.wait_id[at] == id:
        label(memory, id, memory.wait_fraud[at], memory.wait_time[at])
        for i in range(at, many - 1):
            _move_label(memory, i + 1, i)
        memory.meta[WAITING_LABELS] -= 1


@compiled
def _drop_labels(memory: Memory, keep: int) -> None:
    """Drop the older half of the labels that wait; those whose transactions may still come are counted."""
    meta, many, kept = memory.meta, memory.meta[WAITING_LABELS], 0
    limit = np.sort(memory.wait_time[:many])[many // 2]
    for i in range(many):
        if memory.wait_time[i] > limit:
            _move_label(memory, i, kept)
            kept += 1
        elif memory.wait_time[i] >= meta[WATERMARK] - keep:
            meta[LABELS_DROPPED] += 1
    meta[WAITING_LABELS] = kept


@compiled
def _move_label(memory: Memory, source: int, target: int) -> None:
    memory.wait_id[target], memory.wait_fraud[target] = memory.wait_id[source], memory.wait_fraud[source]
    memory.wait_time[target] = memory.wait_time[source]
