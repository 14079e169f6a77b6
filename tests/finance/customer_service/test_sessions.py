"""The same tests on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, text

from finance.customer_service.sessions import (
    CLAIM,
    LIFETIME,
    NoSuchSession,
    Session,
    SessionConflict,
    Sessions,
    SessionsUnavailable,
)
from finance.customer_service.state import Frame, Reply, State

REPLY = Reply(texts=["你好 🙂"], awaits="yes", options=["是"], language="zh")
STATE = State(language="zh", frames=[Frame(task="block_card", node="sure", serial=1, slots={"card": "1234"})])


class Clock:
    now = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(database_url: str, clock: Clock) -> Iterator[Sessions]:
    sessions = Sessions(database_url, clock)
    yield sessions
    sessions.close()


def test_what_is_kept_comes_back(sessions: Sessions) -> None:
    made = sessions.create("ann", STATE, REPLY)
    assert sessions.find(made.id, "ann") == made
    assert (made.state, made.reply, made.turn) == (STATE, REPLY, 0)


def test_a_session_is_its_owners(sessions: Sessions) -> None:
    made = sessions.create("ann", STATE, REPLY)
    for what in (sessions.find, sessions.claim, sessions.delete):
        with pytest.raises(NoSuchSession, match="no such session, or it has expired"):
            what(made.id, "bob")
    assert sessions.find(made.id, "ann") == made


def test_one_message_at_a_time(sessions: Sessions) -> None:
    made = sessions.create("ann", STATE, REPLY)
    claimed = sessions.claim(made.id, "ann")
    with pytest.raises(SessionConflict, match="another message of this session is being answered"):
        sessions.claim(made.id, "ann")
    after = sessions.save(claimed, State(), REPLY, "m1")
    assert (after.turn, after.message, after.state) == (1, "m1", State())
    assert sessions.claim(made.id, "ann", turn=1) == after


def test_of_many_at_once_one_is_answered(sessions: Sessions) -> None:
    made = sessions.create("ann", STATE, REPLY)

    def claim(number: int) -> Session | None:
        try:
            return sessions.claim(made.id, "ann")
        except SessionConflict:
            return None

    with ThreadPoolExecutor(8) as pool:
        assert sum(one is not None for one in pool.map(claim, range(16))) == 1


def test_a_message_for_another_turn(sessions: Sessions) -> None:
    made = sessions.create("ann", STATE, REPLY)
    sessions.save(sessions.claim(made.id, "ann", turn=0), STATE, REPLY)
    with pytest.raises(SessionConflict, match="turn: the session is further on: got 0, expected 1; GET the session"):
        sessions.claim(made.id, "ann", turn=0)


def test_a_claim_that_a_crash_left_ends_and_its_late_answer_is_lost(sessions: Sessions, clock: Clock) -> None:
    made = sessions.create("ann", STATE, REPLY)
    crashed = sessions.claim(made.id, "ann")
    clock.now += CLAIM
    second = sessions.claim(made.id, "ann")
    sessions.save(second, State(), REPLY)
    with pytest.raises(SessionConflict, match="was faster"):
        sessions.save(crashed, STATE, REPLY)
    assert sessions.find(made.id, "ann").state == State()


def test_a_released_claim_leaves_the_session_as_it_was(sessions: Sessions) -> None:
    made = sessions.create("ann", STATE, REPLY)
    sessions.release(sessions.claim(made.id, "ann"))
    assert sessions.claim(made.id, "ann") == made


def test_expired_sessions_are_gone_and_then_deleted(sessions: Sessions, clock: Clock, database_url: str) -> None:
    old = sessions.create("ann", STATE, REPLY)
    clock.now += LIFETIME
    assert sessions.find(old.id, "ann") == old
    clock.now += 1
    for what in (sessions.find, sessions.claim):
        with pytest.raises(NoSuchSession):
            what(old.id, "ann")
    sessions.create("ann", State(), REPLY)
    engine = create_engine(database_url.replace("postgresql://", "postgresql+pg8000://"))
    with engine.connect() as connection:
        left = connection.execute(text("SELECT state FROM service_sessions")).scalars().all()
    engine.dispose()
    assert len(left) == 1
    assert "1234" not in left[0]


def test_a_message_makes_a_session_live_longer(sessions: Sessions, clock: Clock) -> None:
    made = sessions.create("ann", STATE, REPLY)
    clock.now += LIFETIME - 1
    after = sessions.save(sessions.claim(made.id, "ann"), STATE, REPLY)
    assert after.expires == clock.now + LIFETIME


def test_a_state_that_this_version_cannot_read(sessions: Sessions, database_url: str) -> None:
    made = sessions.create("ann", STATE, REPLY)
    engine = create_engine(database_url.replace("postgresql://", "postgresql+pg8000://"))
    with engine.begin() as connection:
        connection.execute(text("""UPDATE service_sessions SET state = '{"of": "tomorrow"}'"""))
    engine.dispose()
    with pytest.raises(NoSuchSession, match="this session is of another version; begin a new one"):
        sessions.find(made.id, "ann")


def test_deleting(sessions: Sessions) -> None:
    made = sessions.create("ann", STATE, REPLY)
    sessions.delete(made.id, "ann")
    with pytest.raises(NoSuchSession):
        sessions.delete(made.id, "ann")


def test_ids_are_not_to_be_guessed(sessions: Sessions) -> None:
    ids = {sessions.create("ann", STATE, REPLY).id for _ in range(5)}
    assert len(ids) == 5
    assert all(len(id) >= 22 for id in ids)


def test_a_database_that_does_not_answer() -> None:
    with pytest.raises(SessionsUnavailable, match="the database does not answer; retry later"):
        Sessions("postgresql://espalier@127.0.0.1:1/x").create("ann", STATE, REPLY)
