from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import BAD, GOOD, LATENESS, NAMES, SMALL, Stream, at_rest, drawn, frauds, rows_of, sees

from common.errors import UsageError
from finance.fraud_detection import kernels, online
from finance.fraud_detection.clock import DAY, HOUR, NEVER
from finance.fraud_detection.history import Arrival, Table, history
from finance.fraud_detection.kernels import EMPTY, GRAVE, NEW, OTHER, SAME, TOO_OLD, WAITING
from finance.fraud_detection.online import Online, Rows


def take_all(state: Online, stream: Stream, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    found = []
    for part in stream.parts(seed):
        found.append(state.take(part))
        check(state)
    counts, became = (np.concatenate(one) for one in zip(*found, strict=True))
    return counts, became


def check(state: Online) -> None:
    """Everything in the tables is where it is looked for, and nothing else is."""
    memory = state.memory
    meta, capacity = memory.meta, len(memory.time)
    live = range(meta[kernels.TAIL], meta[kernels.NEXT])
    assert 0 <= len(live) <= capacity
    assert np.count_nonzero(memory.places) == len(live)
    alive = np.zeros(len(memory.alive), np.int64)
    for number in live:
        assert kernels.find_transaction(memory, memory.id[number % capacity]) == number % capacity
        for entity in memory.entity[:, number % capacity]:
            alive[entity] += entity >= 0
    entities = np.flatnonzero(alive)
    assert (memory.alive[: meta[kernels.ENTITIES]] == alive[: meta[kernels.ENTITIES]]).all()
    for entity in entities:
        assert kernels.find_entity(memory, memory.key[entity]) == entity
    slots = memory.slots
    assert np.count_nonzero((slots != EMPTY) & (slots != GRAVE)) == len(entities) == state.size["entities"]
    assert np.count_nonzero(slots == GRAVE) == meta[kernels.GRAVES]
    free = set(memory.free[: meta[kernels.FREE]].tolist())
    assert len(free) == meta[kernels.FREE]
    assert not free & set(entities.tolist())
    for e in range(len(memory.entity)):
        for entity in set(memory.entity[e, [n % capacity for n in live]].tolist()) - {-1}:
            at, times = memory.head[entity], []
            while at >= meta[kernels.TAIL]:
                times.append(memory.time[at % capacity])
                step = memory.back[e, at % capacity]
                at = at - step if step else -1
            assert times == sorted(times, reverse=True)
            assert len(times) <= alive[entity]
    waiting = memory.wait_id[: meta[kernels.WAITING_LABELS]]
    assert (np.diff(waiting.astype(float)) > 0).all()
    assert np.count_nonzero(slots) * 3 <= 2 * len(slots)


@pytest.mark.parametrize("start", [4, 1 << 14])
@pytest.mark.parametrize("deepest", [8192, 5])
@pytest.mark.parametrize("entities", [("customer",), ("customer", "terminal"), ("customer", "terminal", "device")])
def test_any_order_of_arrival_shows_what_history_shows(entities, deepest, start, monkeypatch):
    monkeypatch.setattr(online, "START", start)  # at 4 the ring doubles seven times while late rows come
    partners = (*entities[1:], entities[0])
    definition = SMALL.model_copy(update={"entities": entities, "partners": partners, "deepest": deepest})
    stream = drawn(start + deepest, entities=entities)
    state = Online(definition, LATENESS)
    counts, became = take_all(state, stream)
    first = stream.is_first
    assert (counts[first] == history(definition, stream.table)[stream.place[first]]).all()
    assert (became[first] == NEW).all()
    assert (became[~first & (stream.rows.fraud < 0)] == SAME).all()
    assert state.refused == {"same": np.count_nonzero(became == SAME), "other": 0, "too_old": 0}
    assert WAITING in became
    assert state.size["waiting_labels"] == 0
    assert state.size["transactions"] < 400

    last = np.flatnonzero(stream.table.time >= state.watermark - LATENESS)
    keys = np.zeros((400, len(entities)), np.uint64)
    keys[stream.place[first]] = stream.rows.keys[first]
    shown = state.look(stream.table.time[last], keys[last])
    assert (shown == history(definition, at_rest(stream.table), last)).all()
    assert state.inexact == {}


def test_it_does_not_matter_how_many_come_together():
    stream = drawn(5)
    whole, one = Online(SMALL, LATENESS), Online(SMALL, LATENESS)
    counts, became = whole.take(stream.rows)
    alone = [one.take(stream.rows.part(slice(i, i + 1))) for i in range(len(stream.rows))]
    transaction = stream.rows.fraud < 0
    assert (counts == np.concatenate([c for c, _ in alone]))[transaction].all()
    assert (became == np.concatenate([b for _, b in alone])).all()
    silent = Online(SMALL, LATENESS)
    none, became = silent.take(stream.rows, counted=False)
    assert len(none) == 0
    assert all((a == b).all() for a, b in zip(silent.memory, whole.memory, strict=True))


event = st.tuples(
    st.integers(0, 40), st.integers(0, 3), st.integers(0, 3), st.integers(-1, 1), st.integers(0, 3), st.integers(0, 9)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(event, min_size=1, max_size=30), st.sampled_from([1, 3, 100]))
def test_parity_of_any_small_stream(events, deepest):
    """A step of time is 6 hours: (when, customer, terminal, fraud, steps late, steps until the label arrives)."""
    step = 6 * HOUR
    definition = SMALL.model_copy(update={"deepest": deepest})
    when, customer, terminal, fraud, late, told = np.array(events).T
    late = np.minimum(late, LATENESS // step - 1)
    n, labelled = len(when), np.flatnonzero(fraud >= 0)
    order = np.argsort(np.concatenate([when + late, (when + told)[labelled]]), kind="stable")
    index, is_label = np.concatenate([np.arange(n), labelled])[order], order >= n
    event, label = np.full(n, NEVER), np.full(n, NEVER)
    event[index[~is_label]], label[index[is_label]] = np.flatnonzero(~is_label), np.flatnonzero(is_label)
    codes, label_time = np.stack([customer, terminal], 1) - 1, np.where(fraud < 0, NEVER, (when + told) * step)
    table = Table(when * step, when * 7 + 1, codes, fraud, label_time, Arrival(event, label))
    rows = Rows(
        np.where(is_label, fraud[index], -1),
        index << 40,  # ids that share their low bits
        np.where(is_label, label_time[index], table.time[index]),
        table.amount[index],
        np.stack([customer << 50, terminal << 40], 1)[index],
    )
    state = Online(definition, LATENESS)
    counts, _ = state.take(rows)
    check(state)
    assert (counts[~is_label] == history(definition, table)[index[~is_label]]).all()
    assert not state.inexact


def test_hashes_that_collide_are_told_apart(monkeypatch):
    monkeypatch.setattr(online, "START", 8)
    rng = np.random.default_rng(0)
    state, seen, mark = Online(SMALL, LATENESS), {}, 0
    for i in range(600):
        id, customer, t = int(rng.integers(0, 300)) << 32, int(rng.integers(1, 40)) << 48, i * 4 * HOUR
        _, became = state.take(rows_of((-1, id, t, customer, 1 << 60)))
        kept = {one: at for one, at in seen.items() if at >= mark - state.keep}
        assert became[0] == (OTHER if id in kept else NEW)
        if id not in kept:
            kept[id] = mark = t
        seen = kept
        if i % 7 == 0:
            check(state)
    assert state.size["entities"] <= 41


def test_the_size_is_bounded_by_what_is_kept(monkeypatch):
    """Every customer and terminal comes once: after 7 days nothing of them is left."""
    monkeypatch.setattr(online, "START", 16)
    state, sizes = Online(SMALL, LATENESS), []
    for day in range(60):
        hours = range(day * 24, day * 24 + 24)
        state.take(rows_of(*((-1, h, h * HOUR, 1_000 + h, 9_000 + h) for h in hours)), counted=False)
        check(state)
        sizes.append(state.size)
    assert sizes[-1] == sizes[20]
    assert sizes[-1]["transactions"] <= 7 * 24 + 1
    assert sizes[-1]["entities"] == 2 * sizes[-1]["transactions"]
    assert len(state.memory.head) <= 1024
    assert state.inexact == {}


def test_bytes_of_a_transaction():
    """41 and 8 for each entity in a full ring, as `kernels` says; an entity 28 and its place."""
    state = Online(SMALL)
    n = online.START
    for half in range(2):
        before = state.size["bytes"]
        ids = np.arange(half * n, half * n + n)
        state.take(Rows(np.full(n, -1), ids, ids, np.zeros(n), np.full((n, 2), 5)), counted=False)
    assert state.size["bytes"] - before == n * (41 + 2 * 8)


def test_without_room_the_oldest_goes_and_is_counted(monkeypatch):
    monkeypatch.setattr(online, "START", 16)
    state = Online(SMALL, LATENESS, most=100)
    stream = drawn(8, 400, days=3)
    counts, became = take_all(state, stream)
    assert state.size["transactions"] == 100
    assert state.inexact["evicted_early"] == np.count_nonzero((became == NEW) & (stream.rows.fraud < 0)) - 100
    incomplete = state.inexact["incomplete"]
    assert 0 < incomplete <= np.count_nonzero(stream.rows.fraud < 0) - 100
    expected = history(SMALL, stream.table)[stream.place[stream.is_first]]
    differs = (counts[stream.is_first] != expected).any(axis=(1, 2))
    assert differs.any()
    assert np.count_nonzero(differs) <= incomplete
    # 20 days later all that was forgotten is out of sight: exact again.
    day = 20 * DAY
    state.take(rows_of(*((-1, 10**6 + i, day + i * HOUR, 3, 4) for i in range(50))))
    assert state.inexact["incomplete"] == incomplete
    assert sees(state, day + 50 * HOUR, 3, "count_5d") == 50
    check(state)


def test_late_beyond_the_bound_is_counted_as_well_as_can_be_and_said():
    state = Online(SMALL, LATENESS)  # keeps 7 days
    state.take(rows_of((-1, 1, 0, 5, 6), (-1, 2, 8 * DAY, 5, 6)))
    assert state.size["transactions"] == 1
    counts, became = state.take(
        rows_of((-1, 3, 3 * DAY + HOUR, 5, 6), (-1, 4, DAY - 1, 5, 6), (-1, 5, 8 * DAY + 1, 5, 6))
    )
    assert became.tolist() == [NEW, TOO_OLD, NEW]
    assert counts[0, 0, NAMES.index("customer_count_5d")] == 0  # was 1 before it was forgotten
    assert counts[2, 0, NAMES.index("customer_count_5d")] == 2
    assert state.inexact == {"incomplete": 1}
    assert state.refused == {"same": 0, "other": 0, "too_old": 1}
    assert sees(state, 3 * DAY, 5, "count_5d") == 0
    assert state.inexact == {"incomplete": 2}


def test_a_row_that_is_refused_changes_nothing():
    state = Online(SMALL, LATENESS)
    state.take(rows_of((-1, 1, 8 * DAY, 5, 6), (-1, 2, 9 * DAY, 5, 0)))
    kept = [array.copy() for array in state.memory]
    again = rows_of((-1, 1, 8 * DAY, 5, 6), (-1, 1, 8 * DAY + 1, 5, 6), (-1, 1, 8 * DAY, 5, 7), (-1, 1, 8 * DAY, 0, 6))
    counts, became = state.take(again)
    assert became.tolist() == [SAME, OTHER, OTHER, OTHER]
    assert counts[0, 0].max() == 0  # itself it does not see
    more = rows_of((-1, 1, 8 * DAY, 5, 6), (-1, 2, 9 * DAY, 5, 0))
    more.amount[0] = 101
    assert state.take(more)[1].tolist() == [OTHER, SAME]
    assert all((a == b).all() for a, b in zip(state.memory, kept, strict=True))
    assert state.refused == {"same": 2, "other": 4, "too_old": 0}


def test_who_is_not_known_has_no_history_and_makes_none():
    state = Online(SMALL, LATENESS)
    counts, _ = state.take(rows_of((-1, 1, DAY, 0, 6), (-1, 2, DAY + HOUR, 0, 6), (-1, 3, DAY + 2 * HOUR, 8, 6)))
    assert counts[:, 0, :4].sum() == 0
    assert counts[2, 1, [3, 11]].tolist() == [2, 1]  # the terminal saw two of one unknown customer
    assert state.size["entities"] == 2


@pytest.mark.parametrize("first", [0, 1, 2], ids=["after", "around", "before"])
@pytest.mark.parametrize(
    ("good_since", "at_first", "at_last"), [(4, (0, 0), (1, 0)), (2, (1, 1), (1, 1)), (3, (1, 0), (1, 0))]
)
def test_of_two_labels_the_later_holds(first, good_since, at_first, at_last):
    """First comes one of fraud, known on day 3, then a good one; so many of them before their transaction."""
    told = [(BAD, 1, 3 * DAY, 0, 0), (GOOD, 1, good_since * DAY, 0, 0)]
    told.insert(first, (-1, 1, DAY, 5, 6))
    state = Online(SMALL, LATENESS)
    assert state.take(rows_of(*told))[1].tolist() == [WAITING] * first + [NEW] * (3 - first)
    assert state.size["waiting_labels"] == 0
    assert frauds(state, 3 * DAY + HOUR) == at_first
    assert frauds(state, 6 * DAY) == at_last


def test_labels_that_wait_are_bounded(monkeypatch):
    monkeypatch.setattr(online, "MOST_WAITING", 10)
    state = Online(SMALL, LATENESS)  # keeps 7 days
    state.take(rows_of((-1, 99, 20 * DAY, 8, 0)))
    # Too old for any transaction that would still be taken in: not kept at all.
    assert state.take(rows_of((BAD, 1, 12 * DAY, 0, 0)))[1].tolist() == [TOO_OLD]
    assert state.refused["too_old"] == 0  # it counts transactions
    early = [(BAD, id, day * DAY, 0, 0) for id, day in enumerate([19, 18, 20, 19, 18, 20, 19, 18, 20, 19], 100)]
    assert set(state.take(rows_of(*early))[1]) == {WAITING}
    assert state.size["waiting_labels"] == 10
    # The older half goes; by now those of day 18 wait in vain, so only the four of day 19 are a loss.
    state.take(rows_of((-1, 98, 26 * DAY - 1, 8, 0), (BAD, 200, 26 * DAY, 0, 0)))
    check(state)
    assert state.inexact == {"labels_dropped": 4}
    assert state.size["waiting_labels"] == 4
    state.take(rows_of((-1, 200, 25 * DAY, 5, 0), (-1, 102, 20 * DAY + HOUR, 5, 0), (-1, 103, 20 * DAY + HOUR, 5, 0)))
    assert frauds(state, 24 * DAY) == (1, 1)
    assert frauds(state, 28 * DAY) == (1, 1)
    assert state.size["waiting_labels"] == 2


def test_rows_that_do_not_fit_are_refused():
    fine = rows_of((-1, 1, DAY, 5, 6))
    with pytest.raises(ValueError, match="time: 2 rows, where id has 1"):
        Rows(fine.fraud, fine.id, np.zeros(2, np.int64), fine.amount, fine.keys)
    state = Online(SMALL)
    with pytest.raises(ValueError, match="keys"):
        state.take(Rows(fine.fraud, fine.id, fine.time, fine.amount, fine.keys[:, :1]))
    with pytest.raises(ValueError, match="keys"):
        state.look(fine.time, fine.keys[:, :1])
    locked = fine.keys.copy(order="F")
    locked.flags.writeable = False
    converted = Rows(fine.fraud.astype(float), fine.id.astype(np.int32), fine.time, fine.amount, locked)
    state.take(converted)
    assert len(kernels.ingest.signatures) == 1  # another layout would be compiled for a minute
    assert state.take(fine)[1].tolist() == [SAME]
    counts, became = state.take(fine.part(slice(0)))
    assert (counts.shape, became.shape) == ((0, 2, SMALL.counts), (0,))


def test_a_state_goes_on_elsewhere():
    stream = drawn(9)
    half = len(stream.rows) // 2
    one, other = Online(SMALL, LATENESS), Online(SMALL, LATENESS)
    other.take(stream.rows.part(slice(40)))  # what was there before is gone
    one.take(stream.rows.part(slice(half)))
    other.restore({name: array.copy() for name, array in one.arrays().items()})
    rest = stream.rows.part(slice(half, None))
    assert (one.take(rest)[0] == other.take(rest)[0]).all()
    alone = SMALL.model_copy(update={"entities": ("customer",), "partners": ("customer",)})
    with pytest.raises(UsageError, match="other entities"):
        Online(alone).restore(one.arrays())
    with pytest.raises(UsageError, match="another version"):
        Online(SMALL).restore({"time": one.memory.time})
