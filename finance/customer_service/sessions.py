"""Sessions in SQLite or PostgreSQL: the state of each dialogue between two messages.

A message first claims its session, and only then is anything asked of the bank: of two that come at once one is
answered and the other refused with 409, whichever process or machine they reach. A claim that a crash left behind ends
by itself; the message can then be sent again, and the bank does nothing twice (`Bank.call`). What lies in the table is
a customer's: the values of the task at hand until it ends, and the last messages masked. It is deleted when it expires.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text, delete, select, update

from common.database import Database
from common.errors import RequestError
from finance.customer_service.state import Reply, State

if TYPE_CHECKING:
    from common.config import Settings

MINUTE = 60_000  # ms
LIFETIME = 30 * MINUTE
"""Since the last message."""
CLAIM = MINUTE
"""Longer than any turn: three calls of the bank and one answer from documents."""


class SessionsUnavailable(RequestError):
    """The database of the sessions does not answer."""

    status = 503


class NoSuchSession(RequestError):
    """There is none, it is another credential's, or it has expired."""

    status = 404


class SessionConflict(RequestError):
    """Another message of the session is being answered, or has been."""

    status = 409


tables = MetaData()
table = Table(
    "service_sessions",
    tables,
    Column("id", String(40), primary_key=True),
    Column("owner", String(200), nullable=False),
    Column("turn", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("reply", Text, nullable=False),
    Column("message", String(64), nullable=False),
    Column("claimed", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
)
Index("ix_service_sessions_expires", table.c.expires)


@dataclass(frozen=True)
class Session:
    """A session as it lies in the table; `message` is the id that the client gave the last one, `turn` counts them."""

    id: str
    owner: str
    turn: int
    state: State
    reply: Reply
    message: str
    expires: int


def open_sessions(settings: Settings) -> Sessions:
    """Those in the database of `DATABASE_URL`, else in `<home>/service_sessions.db`."""
    return Sessions(settings.database_url or f"sqlite:///{settings.home / 'service_sessions.db'}")


class Sessions:
    """The table behind one URL; every method may be called from any thread, and blocks.

    `clock` gives the time in ms. Raises `UsageError` for a URL that is none; methods raise `SessionsUnavailable`.
    """

    def __init__(self, url: str, clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._database, self._clock = Database(url, tables, SessionsUnavailable), clock
        self.close = self._database.close

    def create(self, owner: str, state: State, reply: Reply) -> Session:
        """A new session; those that have expired are deleted."""
        now = self._clock()
        new = Session(secrets.token_urlsafe(16), owner, 0, state, reply, "", now + LIFETIME)
        with self._database.begin() as connection:
            connection.execute(delete(table).where(table.c.expires < now))
            connection.execute(table.insert().values(id=new.id, owner=owner, claimed=0, **_row(new)))
        return new

    def find(self, id: str, owner: str) -> Session:
        """A session of this owner; raises `NoSuchSession`."""
        with self._database.begin() as connection:
            return self._find(connection, id, owner)

    def claim(self, id: str, owner: str, turn: int | None = None) -> Session:
        """The session for the next message, and nobody else's until `save` or `release`.

        With `turn`, only when that was the last one the client saw. Raises `NoSuchSession` and `SessionConflict`.
        """
        now = self._clock()
        free = (table.c.id == id, table.c.owner == owner, table.c.claimed <= now, table.c.expires >= now)
        seen = (table.c.turn == turn,) if turn is not None else ()
        with self._database.begin() as connection:
            change = update(table).where(*free, *seen).values(claimed=now + CLAIM)
            if connection.execute(change).rowcount:
                return self._find(connection, id, owner)
            found = self._find(connection, id, owner)
        if turn is not None and found.turn != turn:
            fix = "GET the session, and send what still holds"
            raise SessionConflict("the session is further on", where="turn", got=turn, expected=found.turn, fix=fix)
        raise SessionConflict("another message of this session is being answered", fix="wait for its answer")

    def save(self, session: Session, state: State, reply: Reply, message: str = "") -> Session:
        """The session after an answered message, free for the next; raises `SessionConflict` when the claim is lost."""
        expires = self._clock() + LIFETIME
        new = Session(session.id, session.owner, session.turn + 1, state, reply, message, expires)
        same = (table.c.id == session.id, table.c.turn == session.turn)
        with self._database.begin() as connection:
            if not connection.execute(update(table).where(*same).values(claimed=0, **_row(new))).rowcount:
                raise SessionConflict("another message of this session was faster", fix="GET the session")
        return new

    def release(self, session: Session) -> None:
        """Free it for the next message, as it was."""
        same = (table.c.id == session.id, table.c.turn == session.turn)
        with self._database.begin() as connection:
            connection.execute(update(table).where(*same).values(claimed=0))

    def delete(self, id: str, owner: str) -> None:
        """Forget a session; raises `NoSuchSession`."""
        with self._database.begin() as connection:
            self._find(connection, id, owner)
            connection.execute(delete(table).where(table.c.id == id))

    def _find(self, connection: Any, id: str, owner: str) -> Session:
        mine = (table.c.id == id, table.c.owner == owner, table.c.expires >= self._clock())
        row = connection.execute(select(table).where(*mine)).mappings().first()
        if row is None:
            raise NoSuchSession("there is no such session, or it has expired", fix="begin a new one")
        try:
            state, reply = State.model_validate_json(row["state"]), Reply.model_validate_json(row["reply"])
        except ValidationError:
            raise NoSuchSession("this session is of another version", fix="begin a new one") from None
        return Session(row["id"], row["owner"], row["turn"], state, reply, row["message"], row["expires"])


def _row(session: Session) -> dict[str, Any]:
    return {
        "turn": session.turn,
        "state": session.state.model_dump_json(),
        "reply": session.reply.model_dump_json(),
        "message": session.message,
        "expires": session.expires,
    }
