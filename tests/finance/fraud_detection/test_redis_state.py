"""The same streams through a real Redis."""

from __future__ import annotations

import signal
import time
from contextlib import suppress

import numpy as np
import pytest
from redis import Redis
from streams import BAD, GOOD, LATENESS, SMALL, at_rest, drawn, frauds, rows_of

from common.errors import UsageError
from finance.fraud_detection import redis_state
from finance.fraud_detection.clock import DAY, HOUR
from finance.fraud_detection.history import history
from finance.fraud_detection.kernels import NEW, OTHER, SAME, TOO_OLD, WAITING
from finance.fraud_detection.online import Online, Rows, StateAway
from finance.fraud_detection.redis_state import RedisState


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy test machine may keep a healthy Redis waiting for longer than a service would."""
    monkeypatch.setattr(redis_state, "TIMEOUT_S", 5.0)


def opened(redis, definition=SMALL) -> RedisState:
    return RedisState(definition, redis.url, "test", LATENESS)


@pytest.mark.parametrize("deepest", [8192, 5])
@pytest.mark.parametrize("entities", [("customer",), ("customer", "terminal", "device")])
def test_any_order_of_arrival_shows_what_history_shows(redis, entities, deepest):
    definition = SMALL.model_copy(
        update={"entities": entities, "partners": (*entities[1:], entities[0]), "deepest": deepest}
    )
    stream = drawn(deepest, entities=entities)
    clients = [opened(redis, definition) for _ in range(2)]
    found = [clients[number % 2].take(part) for number, part in enumerate(stream.parts())]
    counts, became = (np.concatenate(one) for one in zip(*found, strict=True))
    first = stream.is_first
    assert (counts[first] == history(definition, stream.table)[stream.place[first]]).all()
    state = Online(definition, LATENESS)
    assert (became == state.take(stream.rows)[1]).all()
    refused = [client.refused for client in clients]
    assert state.refused == {name: sum(one[name] for one in refused) for name in state.refused}

    last = np.flatnonzero(stream.table.time >= state.watermark - LATENESS)
    keys = np.zeros((400, len(entities)), np.uint64)
    keys[stream.place[first]] = stream.rows.keys[first]
    shown = clients[0].look(stream.table.time[last], keys[last])
    assert (shown == history(definition, at_rest(stream.table), last)).all()
    assert [client.inexact for client in clients] == [{}, {}]
    for client in clients:
        client.close()


def test_rows_of_one_call_count_for_each_other_however_many_they_are(redis, monkeypatch):
    monkeypatch.setattr(redis_state, "TOGETHER", 7)
    stream = drawn(3)
    state = opened(redis)
    counts, became = state.take(stream.rows)
    expected = Online(SMALL, LATENESS).take(stream.rows)
    transaction = stream.rows.fraud < 0
    assert (became == expected[1]).all()
    assert (counts == expected[0])[transaction & (became == NEW)].all()
    none, became = opened(redis).take(stream.rows, counted=False)
    assert len(none) == 0
    assert set(became[transaction]) == {SAME}
    nothing = state.take(stream.rows.part(slice(0)))
    assert (nothing[0].shape, nothing[1].shape) == ((0, 2, SMALL.counts), (0,))


@pytest.mark.parametrize("first", [0, 1, 2], ids=["after", "around", "before"])
@pytest.mark.parametrize(
    ("good_since", "at_first", "at_last"), [(4, (0, 0), (1, 0)), (2, (1, 1), (1, 1)), (3, (1, 0), (1, 0))]
)
def test_of_two_labels_the_later_holds(redis, first, good_since, at_first, at_last):
    told = [(BAD, 1, 3 * DAY, 0, 0), (GOOD, 1, good_since * DAY, 0, 0)]
    told.insert(first, (-1, 1, DAY, 5, 6))
    state = opened(redis)
    assert state.take(rows_of(*told))[1].tolist() == [WAITING] * first + [NEW] * (3 - first)
    assert frauds(state, 3 * DAY + HOUR) == at_first
    assert frauds(state, 6 * DAY) == at_last


def test_a_row_that_is_refused_changes_nothing(redis):
    state = opened(redis)
    state.take(rows_of((-1, 1, 8 * DAY, 5, 6), (-1, 2, 9 * DAY, 5, 0)))
    with Redis(port=redis.port) as client:
        before = {key: client.dump(key) for key in client.keys("*")}
        again = rows_of((-1, 1, 8 * DAY, 5, 6), (-1, 1, 8 * DAY, 5, 7), (-1, 3, DAY, 5, 6), (BAD, 4, DAY, 0, 0))
        assert state.take(again)[1].tolist() == [SAME, OTHER, TOO_OLD, TOO_OLD]
        assert {key: client.dump(key) for key in client.keys("*")} == before
    assert state.refused == {"same": 1, "other": 1, "too_old": 1}
    state.take(rows_of((-1, 5, 7 * DAY, 5, 6)))
    assert state.inexact == {"incomplete": 1}  # later than the bound: it may have lacked something


def test_everything_expires(redis):
    state = opened(redis)
    state.take(rows_of((-1, 1, 0, 5, 6), (BAD, 1, DAY, 0, 0), (-1, 2, 9 * DAY, 5, 6)))
    with Redis(port=redis.port) as client:
        keys = client.keys("test:*")
        alive = [key for key in keys if client.pttl(key) == -1]
        assert sorted(alive) == [b"test:definition", b"test:w"]
        assert len(keys) == 7
        assert all(0 < client.pttl(key) <= state.keep for key in set(keys) - set(alive))
        assert {client.zcard(key) for key in client.keys("test:e:*")} == {1}  # what is older than is kept has gone


def test_without_redis_it_says_so_in_time_and_the_rows_wait(redis, monkeypatch):
    monkeypatch.setattr(redis_state, "PAUSE_S", 0.5)
    stream = drawn(6)
    parts = stream.parts()
    for part in parts[:3]:
        opened(redis).take(part)
    redis.process.send_signal(signal.SIGSTOP)
    try:
        monkeypatch.setattr(redis_state, "TIMEOUT_S", 0.25)
        slow = opened(redis)
        began = time.monotonic()
        with pytest.raises(StateAway, match="REDIS_URL: Redis does not answer") as told:
            slow.take(parts[3])
        assert 0.2 < time.monotonic() - began < 2
        assert told.value.status == 503
        began = time.monotonic()
        with pytest.raises(StateAway, match="a moment ago"):
            slow.look(parts[3].time, parts[3].keys)
        with pytest.raises(StateAway, match="a moment ago"):
            slow.take(parts[4])
        assert time.monotonic() - began < 0.1
        assert slow.inexact == {}
    finally:
        redis.process.send_signal(signal.SIGCONT)
    time.sleep(0.6)
    # What waited goes first, so the rest sees it.
    rest = [slow.take(part) for part in parts[5:]]
    expected = Online(SMALL, LATENESS)
    for part in parts[:5]:
        expected.take(part)
    for part, (counts, became) in zip(parts[5:], rest, strict=True):
        right = expected.take(part)
        assert (became == right[1]).all()
        assert (counts == right[0])[(part.fraud < 0) & (became == NEW)].all()
    assert slow.inexact == {}


def test_a_redis_that_was_restarted_is_used_again_and_what_it_lost_is_told(redis, monkeypatch):
    monkeypatch.setattr(redis_state, "PAUSE_S", 0.0)
    state = opened(redis)
    state.take(rows_of((-1, 1, 8 * DAY, 5, 6)))
    redis.stop()
    for id in (2, 3):
        with pytest.raises(StateAway, match="refused"):
            state.take(rows_of((-1, id, 8 * DAY + id, 5, 6)))
    assert state.inexact == {}
    redis.start()
    counts, became = state.take(rows_of((-1, 4, 8 * DAY + HOUR, 5, 6)))
    assert became.tolist() == [NEW]
    assert counts[0, 0, 3] == 2
    assert state.inexact == {"lost": 1}


def test_rows_that_wait_are_bounded(redis, monkeypatch):
    monkeypatch.setattr(redis_state, "PAUSE_S", 0.0)
    monkeypatch.setattr(redis_state, "MOST_PENDING", 3)
    state = opened(redis)
    redis.stop()
    for id in range(5):
        with pytest.raises(StateAway):
            state.take(rows_of((-1, id + 1, 8 * DAY + id, 5, 6)))
    redis.start()
    monkeypatch.setattr(redis_state, "CATCH_UP", 2)
    state.take(rows_of((-1, 9, 9 * DAY, 5, 6)))
    assert state.inexact == {"dropped": 2, "incomplete": 1}  # one waited still
    counts, _ = state.take(rows_of((-1, 10, 9 * DAY + 1, 5, 6)))
    assert counts[0, 0, 3] == 4
    assert state.inexact == {"dropped": 2, "incomplete": 1}


def test_a_full_redis_refuses_rows_whole(redis, monkeypatch):
    monkeypatch.setattr(redis_state, "PAUSE_S", 0.0)
    state = opened(redis)
    state.take(rows_of((-1, 1, 8 * DAY, 5, 6)))
    with Redis(port=redis.port) as client:
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(StateAway, match="maxmemory"):
                state.take(rows_of((-1, 2, 8 * DAY + 1, 5, 6)))
        finally:
            client.config_set("maxmemory", 0)
    assert state.take(rows_of((-1, 3, 8 * DAY + 2, 5, 6)))[0][0, 0, 3] == 2


def test_keys_that_redis_throws_away_are_counted(redis):
    state = opened(redis)
    state.take(rows_of(*((-1, id, 8 * DAY + id, id, 6) for id in range(1, 300))))
    with Redis(port=redis.port) as client:
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 20_000)
        try:
            with suppress(StateAway):
                state.take(rows_of((-1, 999, 9 * DAY, 5, 6)))
        finally:
            client.config_set("maxmemory", 0)
            client.config_set("maxmemory-policy", "noeviction")
    state._away_until = 0.0
    assert state.inexact["evicted"] > 0


def test_another_definition_is_refused(redis):
    opened(redis).seed(rows_of((-1, 1, 8 * DAY, 5, 6)))
    other = RedisState(SMALL.model_copy(update={"deepest": 9}), redis.url, "test")
    with pytest.raises(UsageError, match=r"the state in Redis counts something else; delete the keys test:\*"):
        other.seed(rows_of((-1, 1, 8 * DAY, 5, 6)))
    RedisState(SMALL.model_copy(update={"deepest": 9}), redis.url, "another").take(rows_of((-1, 1, 8 * DAY, 5, 6)))
    with pytest.raises(UsageError, match="not the address of a Redis: got 'localhost'"):
        RedisState(SMALL, "localhost", "test")


def test_a_bundles_transactions_are_taken_in_once(redis, monkeypatch):
    seed = Rows(
        np.full(1200, -1), np.arange(1, 1201), 8 * DAY + np.arange(1200), np.full(1200, 9), np.full((1200, 2), 5)
    )
    first, second = opened(redis), opened(redis)
    first.seed(seed)
    second.seed(seed)
    assert (first.refused, second.refused) == (dict.fromkeys(first.refused, 0),) * 2
    assert second.take(rows_of((-1, 9999, 9 * DAY, 5, 5)))[0][0, 0, 3] == 1200
    # Redis away at the start: as soon as it is there, and until all is there the counts are called incomplete.
    monkeypatch.setattr(redis_state, "PAUSE_S", 0.0)
    redis.stop()
    third = opened(redis)
    third.seed(seed)
    with pytest.raises(StateAway):
        third.take(rows_of((-1, 9998, 9 * DAY, 5, 5)))
    redis.start()
    seen = [third.take(rows_of((-1, id, 9 * DAY + 5, 5, 5)))[0][0, 0, 3] for id in (9997, 9996)]
    assert seen == [1000, 1201]
    assert third.inexact == {"incomplete": 1}
    fourth = opened(redis)
    fourth.seed(seed)
    assert not fourth._seeding
