"""Random streams that hold every awkward case, and what a plain loop counts of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from finance.fraud_detection.clock import DAY, HOUR, MINUTE, NEVER
from finance.fraud_detection.definition import LARGEST_SQUARED, Definition
from finance.fraud_detection.history import Arrival, Table
from finance.fraud_detection.online import Rows, State, hashed, keys_of

SMALL = Definition(windows=(MINUTE, HOUR, DAY, 5 * DAY), risk_windows=(DAY, 4 * DAY), delay=2 * DAY, steps=5)
"""Horizon: 6 days."""
LATENESS = DAY
NAMES = SMALL.count_names[0]
GOOD, BAD = 0, 1


@dataclass(frozen=True)
class Stream:
    """`rows` in order of arrival; where the transactions lie in `table` (-1: a label, or one that is sent again)."""

    table: Table
    rows: Rows
    place: np.ndarray

    @property
    def is_first(self) -> np.ndarray:
        return self.place >= 0

    def parts(self, seed: int = 0) -> list[Rows]:
        """The rows in pieces of 1 to 60."""
        rng, edges = np.random.default_rng(seed), [0]
        while edges[-1] < len(self.rows):
            edges.append(edges[-1] + int(rng.integers(1, 61)))
        return [self.rows.part(slice(*pair)) for pair in pairwise(edges)]


def drawn(
    seed: int, n: int = 400, entities: tuple[str, ...] = ("customer", "terminal"), days: int = 12, values: int = 7
) -> Stream:
    """Ties of a millisecond, unknown entities, huge amounts, missing labels; all late by less than `LATENESS`; sent
    again; labels late, again, and before their transactions."""
    rng = np.random.default_rng(seed)
    time = rng.integers(0, days * DAY, n)
    time = np.sort(np.where(rng.random(n) < 0.3, time // (6 * HOUR) * (6 * HOUR), time))
    time[n // 2 : n // 2 + n // 20] = time[n // 2]
    amount = np.where(rng.random(n) < 0.05, LARGEST_SQUARED + 10**9, rng.integers(0, 50_000, n))
    codes = rng.integers(-1, values, (n, len(entities)))
    fraud = rng.choice([-1, 0, 1], n, p=[0.2, 0.5, 0.3]).astype(np.int8)
    label_time = np.where(fraud < 0, NEVER, time + rng.integers(0, 4 * DAY, n))
    label_time[::5] = np.where(fraud[::5] < 0, NEVER, time[::5] + 3 * DAY)

    at = time + np.where(rng.random(n) < 0.3, rng.integers(0, LATENESS, n), 0)
    told = np.where(rng.random(n) < 0.1, at - rng.integers(1, DAY, n), label_time + rng.integers(0, DAY, n))
    labelled, again = np.flatnonzero(fraud >= 0), np.flatnonzero(rng.random(n) < 0.05)
    index = np.concatenate([np.arange(n), labelled, again, labelled[::9]])
    kind = np.repeat([0, 1, 2, 1], [n, len(labelled), len(again), len(labelled[::9])])
    when = np.concatenate([at, told[labelled], at[again] + rng.integers(1, DAY, len(again)), told[labelled[::9]] + 1])
    order = np.lexsort((rng.random(len(when)), when))
    index, kind = index[order], kind[order]

    event, label = np.full(n, NEVER), np.full(n, NEVER)
    for position in range(len(order) - 1, -1, -1):  # backwards: the first of each stays
        if kind[position] == 0:
            event[index[position]] = position
        elif kind[position] == 1:
            label[index[position]] = position
    ids = np.array([hashed(f"{seed} {i}") for i in range(n)], np.uint64)
    keys = [keys_of(name, [str(c) if c >= 0 else "" for c in codes[:, e]]) for e, name in enumerate(entities)]
    is_label = kind == 1
    rows = Rows(
        np.where(is_label, fraud[index], -1),
        ids[index],
        np.where(is_label, label_time[index], time[index]),
        amount[index],
        np.stack(keys, axis=1)[index],
    )
    table = Table(time, amount, codes, fraud, label_time, Arrival(event, label))
    return Stream(table, rows, np.where(kind == 0, index, -1))


def at_rest(table: Table) -> Table:
    """The same transactions when all have arrived."""
    return replace(table, arrival=None)


def plain(definition: Definition, table: Table, i: int) -> list[list[int]]:
    """Counts (entities, counts) of the transaction at position `i`, as slowly and as plainly as can be."""
    t, arrival, found = int(table.time[i]), table.arrival, []
    for e, name in enumerate(definition.entities):
        partner = definition.entities.index(definition.partners[e])
        mine = []
        for j in range(len(table.time)):
            same = table.codes[j, e] == table.codes[i, e] and table.codes[i, e] != -1
            here = arrival is None or arrival.event[j] < arrival.event[i]
            if same and here and t - definition.horizon <= table.time[j] < t:
                mine.append(j)
        mine.sort(key=lambda j: -table.time[j])
        if len(mine) > definition.deepest:
            mine = [j for j in mine if table.time[j] > table.time[mine[definition.deepest]]]

        def within(window: int, delay: int = 0, mine: list[int] = mine) -> list[int]:
            return [j for j in mine if t - delay - window <= table.time[j] < t - delay]

        def told(j: int) -> bool:
            here = arrival is None or arrival.label[j] < arrival.event[i]
            return table.fraud[j] >= 0 and table.label_time[j] <= t and bool(here)

        longest = within(definition.windows[-1])
        counts = [len(within(w)) for w in definition.windows]
        counts += [sum(int(table.amount[j]) for j in within(w)) for w in definition.windows]
        counts += [len({table.codes[j, partner] for j in within(w)}) for w in definition.windows]
        counts += [sum(min(int(table.amount[j]), LARGEST_SQUARED) ** 2 for j in longest)]
        counts += [max((int(table.amount[j]) for j in longest), default=0)]
        counts += [max((int(table.time[j]) for j in longest), default=-1)]
        known = [[j for j in within(w, definition.delay) if told(j)] for w in definition.risk_windows]
        counts += [len(some) for some in known]
        counts += [sum(table.fraud[j] == 1 for j in some) for some in known]
        frauds = [int(table.time[j]) for j in known[-1] if table.fraud[j] == 1]
        counts += [max(frauds, default=-1), min(frauds, default=-1)]
        counts += [sum(table.fraud[j] == 0 and table.time[j] > max(frauds) for j in known[-1]) if frauds else 0]
        own = table.codes[i, partner]
        steps = [(table.time[j], table.amount[j], int(own != -1 and table.codes[j, partner] == own)) for j in mine]
        steps = [*sorted(steps, reverse=True), *[(-1, 0, 0)] * definition.steps][: definition.steps]
        counts += [step[place] for place in range(3) for step in steps]
        assert len(counts) == len(definition.count_names[e]), name
        found.append([int(count) for count in counts])
    return found


def rows_of(*told: tuple[int, int, int, int, int]) -> Rows:
    """Rows of (fraud, id, time, customer's key, terminal's key); amounts are 100."""
    table = np.array(told, np.int64).reshape(-1, 5)
    return Rows(table[:, 0], table[:, 1], table[:, 2], np.full(len(table), 100), table[:, 3:])


def sees(state: State, time: int, customer: int, name: str) -> int:
    """One count of a customer."""
    counts = state.look(np.array([time]), np.array([[customer, 0]], np.uint64))
    return int(counts[0, 0, NAMES.index(f"customer_{name}")])


def frauds(state: State, at: int) -> tuple[int, int]:
    """How many of the transactions of customer 5 are known to be good or bad, and how many of them are bad."""
    return sees(state, at, 5, "known_4d"), sees(state, at, 5, "frauds_4d")
