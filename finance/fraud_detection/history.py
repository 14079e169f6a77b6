"""The first execution of the definition: counts of whole tables, by sorting and by sums over ranges, in numpy.

Every row is paired with the transactions of its entity that lie within the horizon before it; counts are sums over
these pairs. With an order of arrival, a pair counts only when the other transaction (or its label) had arrived before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from common.progress import bar
from finance.fraud_detection.clock import NEVER
from finance.fraud_detection.definition import LARGEST_SQUARED, Definition

PAIRS = 1_000_000
"""Pairs at a time: about 200 MB."""


@dataclass(frozen=True)
class Arrival:
    """Positions in one order of arrival, int64 (n,): of transactions, and of their labels (NEVER: none came)."""

    event: np.ndarray
    label: np.ndarray


@dataclass(frozen=True)
class Table:
    """Transactions, in any order: `time` ms (0 or later) and `amount` minor units int64 (n,), `codes` int64 (n,
    entities) of their values (-1: not known, such a one has no history), `fraud` int8 (n,) 1, 0 or -1 for unknown,
    `label_time` int64 ms (n,), and the order in which all arrived (None: all is there, labels from their times on)."""

    time: np.ndarray
    amount: np.ndarray
    codes: np.ndarray
    fraud: np.ndarray
    label_time: np.ndarray
    arrival: Arrival | None = None


def history(definition: Definition, table: Table, rows: np.ndarray | None = None) -> np.ndarray:
    """Counts int64 (rows, entities, counts) of the transactions at positions `rows`; of all if None."""
    rows = np.arange(len(table.time)) if rows is None else rows
    with bar("counting history", len(definition.entities) * max(len(rows), 1)) as advance:
        return counts_of(definition, table, rows, advance)


def counts_of(definition: Definition, table: Table, rows: np.ndarray, advance: Callable[[float], None]) -> np.ndarray:
    """`history` that tells `advance` how many rows it has counted, once for each entity."""
    counts = np.zeros((len(rows), len(definition.entities), definition.counts), np.int64)
    for e, other in enumerate(definition.partner_of):
        code, partner = table.codes[:, e], table.codes[:, other]
        until = None if table.arrival else _until(code, partner, table.time)
        for some, pairs in _pairs(definition, table, code, rows):
            counts[some, e] = _count(definition, table, pairs, partner, until)
            advance(len(some))
    return counts


@dataclass(frozen=True)
class _Pairs:
    """Rows at positions `row` (k,), and `other` (pairs,): the transactions before each, oldest first, those of row i
    from `edge[i]` to `edge[i + 1]`."""

    row: np.ndarray
    other: np.ndarray
    edge: np.ndarray

    def each(self, values: np.ndarray) -> np.ndarray:
        """Values (k,) of rows for their pairs."""
        return np.repeat(values, np.diff(self.edge))

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Whole numbers (pairs,) summed by row."""
        return self._by_row(np.add, values, 0)

    def largest(self, values: np.ndarray, none: int) -> np.ndarray:
        """The largest by row, `none` where a row has no pair."""
        return self._by_row(np.maximum, values, none)

    def _by_row(self, ufunc: np.ufunc, values: np.ndarray, none: int) -> np.ndarray:
        found, some = np.full(len(self.row), none, np.int64), np.diff(self.edge) > 0
        if some.any():
            found[some] = ufunc.reduceat(values, self.edge[:-1][some], dtype=np.int64)
        return found


def _pairs(
    definition: Definition, table: Table, code: np.ndarray, rows: np.ndarray
) -> Iterator[tuple[np.ndarray, _Pairs]]:
    """Positions in `rows` and their pairs, so many at a time that they fit into memory."""
    order = np.lexsort((table.time, code))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    last = place[rows]
    deepest = None if table.arrival else definition.deepest
    first = _first_seen(code[order], table.time[order], definition.horizon, deepest)[last]
    lengths = np.where(code[rows] < 0, 0, last - first)
    ordered = np.argsort(last, kind="stable")  # neighbours in time are neighbours in memory
    chunk = np.cumsum(lengths[ordered]) // PAIRS
    for some in np.split(ordered, np.flatnonzero(np.diff(chunk)) + 1):
        edge = np.concatenate([[0], np.cumsum(lengths[some])])
        within = np.arange(edge[-1]) - np.repeat(edge[:-1], lengths[some])
        other = order[np.repeat(first[some], lengths[some]) + within]
        yield some, _Pairs(rows[some], other, edge)


def _first_seen(code: np.ndarray, time: np.ndarray, horizon: int, deepest: int | None) -> np.ndarray:
    """int (n,): the first place of the same entity that is seen, of tables sorted by entity and time."""
    if not len(time):
        return np.zeros(0, np.int64)
    step = int(time.max() - time.min()) + horizon + 1
    _, number = np.unique(code, return_inverse=True)
    line = number * step + (time - time.min())  # one line of time, entity after entity
    first = np.searchsorted(line, np.maximum(line - horizon, number * step), side="left")
    if deepest is not None:
        beyond = np.searchsorted(line, line, side="left") - deepest - 1
        some = np.flatnonzero(beyond >= first)
        first[some] = np.searchsorted(line, line[beyond[some]], side="right")
    return first


def _until(code: np.ndarray, partner: np.ndarray, time: np.ndarray) -> np.ndarray:
    """ms (n,): when the same entity comes with the same partner again (NEVER: it does not)."""
    order = np.lexsort((time, partner, code))
    again = (np.diff(code[order]) == 0) & (np.diff(partner[order]) == 0)
    found = np.full(len(time), NEVER)
    found[order[:-1][again]] = time[order[1:][again]]
    return found


def _count(
    definition: Definition, table: Table, pairs: _Pairs, partner: np.ndarray, until: np.ndarray | None
) -> np.ndarray:
    """Counts int64 (k, counts) of one entity; their order is that of `Definition.count_names`."""
    t, other = pairs.each(table.time[pairs.row]), pairs.other
    time, amount, fraud = table.time[other], table.amount[other], table.fraud[other]
    age = t - time
    seen, labelled = age > 0, (fraud >= 0) & (table.label_time[other] <= t)
    if table.arrival:
        now = pairs.each(table.arrival.event[pairs.row])
        seen &= table.arrival.event[other] < now
        labelled &= table.arrival.label[other] < now
        seen &= time > pairs.each(_limit(pairs, time, seen, definition.deepest))
    within = [seen & (age <= window) for window in definition.windows]
    recent = within[-1]
    # There are as many distinct partners as transactions that are the newest with theirs.
    newest = _newest_of_partner(pairs, partner[other], recent) if until is None else recent & (until[other] >= t)
    bounded = np.minimum(amount, LARGEST_SQUARED)
    old = age - definition.delay
    known = [seen & labelled & (old > 0) & (old <= window) for window in definition.risk_windows]
    bad = known[-1] & (fraud == 1)
    last_fraud = pairs.largest(np.where(bad, time, -1), -1)
    first_fraud = -pairs.largest(np.where(bad, -time, -NEVER), -NEVER)
    good_since = pairs.sum(known[-1] & (fraud == 0) & (time > pairs.each(last_fraud)))
    columns = [
        *(pairs.sum(inside) for inside in within),
        *(pairs.sum(amount * inside) for inside in within),
        *(pairs.sum(newest & inside) for inside in within),
        pairs.sum(bounded * bounded * recent),
        pairs.largest(amount * recent, 0),
        pairs.largest(np.where(recent, time, -1), -1),
        *(pairs.sum(inside) for inside in known),
        *(pairs.sum(inside & (fraud == 1)) for inside in known),
        last_fraud,
        np.where(first_fraud == NEVER, -1, first_fraud),
        np.where(last_fraud < 0, 0, good_since),
    ]
    if definition.steps:
        mine = pairs.each(partner[pairs.row])
        same = (mine >= 0) & (partner[other] == mine)
        columns += _newest(pairs, time, amount, same, seen, definition.steps)
    return np.stack(columns, axis=1)


def _newest(
    pairs: _Pairs, time: np.ndarray, amount: np.ndarray, same: np.ndarray, seen: np.ndarray, steps: int
) -> list[np.ndarray]:
    """Times (-1: none), amounts and `same` of the newest `steps` pairs seen: 3 x `steps` columns (k,)."""
    total = np.concatenate([[0], np.cumsum(seen)])
    rank = pairs.each(total[pairs.edge[1:]]) - total[1:]  # how many newer ones are seen
    row, some = pairs.each(np.arange(len(pairs.row))), np.flatnonzero(seen)
    tied = some[:-1][(np.diff(time[some]) == 0) & (np.diff(row[some]) == 0)]
    mixed = some[np.isin(row[some], row[tied])]  # few rows: sorting all would take longer than all else
    rank[mixed[np.lexsort((same[mixed], amount[mixed], time[mixed], row[mixed]))]] = rank[mixed]
    told = some[rank[some] < steps]
    found = np.zeros((3, steps, len(pairs.row)), np.int64)
    found[0] = -1
    for block, values in zip(found, (time, amount, same), strict=True):
        block[rank[told], row[told]] = values[told]
    return list(found.reshape(3 * steps, -1))


def _limit(pairs: _Pairs, time: np.ndarray, seen: np.ndarray, deepest: int) -> np.ndarray:
    """ms (k,): the time of the transaction that is one beyond the newest `deepest` seen; -1 where there is none."""
    total = np.concatenate([[0], np.cumsum(seen)])
    newer = pairs.each(total[pairs.edge[1:]]) - total[1:]
    return pairs.largest(np.where(seen & (newer == deepest), time, -1), -1)


def _newest_of_partner(pairs: _Pairs, partner: np.ndarray, among: np.ndarray) -> np.ndarray:
    """bool (pairs,): the newest of each row with its partner, among some."""
    group = pairs.each(np.arange(len(pairs.row)) * (partner.max(initial=0) + 2))[among] + partner[among]
    order = np.argsort(group, kind="stable")  # the pairs of one partner stay oldest first
    last = np.ones(len(order), bool)
    last[:-1] = np.diff(group[order]) != 0
    found = np.zeros(len(partner), bool)
    found[np.flatnonzero(among)[order[last]]] = True
    return found
