"""A few tables in SQLite or PostgreSQL, made when they are missing, by SQLAlchemy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import OperationalError
from typing import Any

from sqlalchemy import Connection, MetaData, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from common.errors import RequestError, UsageError

PATIENCE_S = 10.0
LOCK = 6_700_417  # PostgreSQL's advisory lock while tables are made: any number, the same for all


class Database:
    """The tables behind one URL, for any thread; when it does not answer, `away` is raised.

    `pragmas` are the owner's own, for SQLite, of each connection. `insert` is that of the dialect, which knows
    conflicts. Raises `UsageError` for a URL that is none, or names a database without its driver here.
    """

    def __init__(self, url: str, tables: MetaData, away: type[RequestError], pragmas: Sequence[str] = ()) -> None:
        scheme, separator, rest = url.partition("://")
        driver = f"postgresql+pg8000{separator}{rest}" if scheme in ("postgres", "postgresql") else url
        try:
            self._engine = create_engine(driver, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            fix = "install `espalier[postgres]`"
            raise UsageError(f"the driver {error.name} is not installed", where="DATABASE_URL", fix=fix) from None
        except (ArgumentError, NoSuchModuleError, ValueError):
            expected = "postgresql://user:password@host/database or sqlite:///file"
            raise UsageError("not a database URL", where="DATABASE_URL", expected=expected) from None
        self._tables, self._away, self._pragmas, self._made = tables, away, pragmas, False
        self.is_sqlite = self._engine.dialect.name == "sqlite"
        self.insert: Any = (sqlite if self.is_sqlite else postgresql).insert
        if self.is_sqlite:
            if file := self._engine.url.database:
                Path(file).parent.mkdir(parents=True, exist_ok=True)
            event.listen(self._engine, "connect", self._set_up_sqlite)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction: kept when the block ends, undone when it raises."""
        try:
            self._made = self._made or self._make()
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self._away("the database does not answer", fix="retry later") from error

    def _make(self) -> bool:
        """The tables that are missing; threads and replicas that meet at a new database do it one after another."""
        alone = "BEGIN IMMEDIATE" if self.is_sqlite else f"SELECT pg_advisory_xact_lock({LOCK})"
        with self._engine.begin() as connection:
            connection.exec_driver_sql(alone)
            self._tables.create_all(connection)
        return True

    def _set_up_sqlite(self, connection: Any, record: Any) -> None:
        # FULL: what is kept survives a power cut.
        for pragma in (f"busy_timeout={1000 * PATIENCE_S:.0f}", "synchronous=FULL", *self._pragmas):
            connection.execute(f"PRAGMA {pragma}")
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                return
            except OperationalError:  # who meets another at a new file is refused at once, whatever the busy_timeout
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)
