"""The same tests on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, func, select

from common.database import Database
from common.errors import RequestError, UsageError

ROOT = Path(__file__).parents[2]
tables = MetaData()
trees = Table("trees", tables, Column("id", Integer, primary_key=True, autoincrement=False))
pears = Table("pears", tables, Column("id", Integer, primary_key=True), Column("tree", ForeignKey("trees.id")))


class Away(RequestError):
    """The orchard does not answer."""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url, tables, Away)
    yield database
    database.close()


def plant(database: Database, *ids: int) -> None:
    with database.begin() as connection:
        connection.execute(database.insert(trees).on_conflict_do_nothing(), [{"id": id} for id in ids])


def count(database: Database) -> int:
    with database.begin() as connection:
        return connection.execute(select(func.count()).select_from(trees)).scalar_one()


@pytest.mark.parametrize(("error", "told"), [(ValueError, ValueError), (sqlalchemy.exc.SQLAlchemyError, Away)])
def test_a_block_is_kept_or_undone_as_a_whole(
    database: Database, error: type[Exception], told: type[Exception]
) -> None:
    def fail() -> None:
        with database.begin() as connection:
            connection.execute(database.insert(trees), [{"id": 3}])
            raise error

    plant(database, 1, 2, 1)
    with pytest.raises(told):
        fail()
    assert count(database) == 2


def test_what_is_kept_survives_a_power_cut_and_pragmas_are_those_of_each_connection(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}", tables, Away, ["secure_delete=ON"])
    together = Barrier(2)

    def told(_: int) -> list[object]:
        names = ("journal_mode", "synchronous", "busy_timeout", "secure_delete")
        with database.begin() as connection:
            together.wait(10)  # so that there are two connections
            return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(told, range(2))) == [["wal", 2, 10_000, 1]] * 2
    database.close()


MEET = """
import sys, time
from test_database import Away, Database, plant, tables
url, until, id = sys.argv[1:]
while time.time() < float(until):
    pass
plant(Database(url, tables, Away), int(id), 1000)
"""


def test_processes_may_meet_at_a_new_database(database: Database, database_url: str) -> None:
    until = str(time.time() + 3)
    environment = {"PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
    started = [
        subprocess.Popen([sys.executable, "-c", MEET, database_url, until, f"{i}"], env=environment, stderr=-1)
        for i in range(8)
    ]
    said = [process.communicate(timeout=60)[1] for process in started]
    assert [error.decode() for error in said] == [""] * 8
    assert count(database) == 9


def test_threads_may_meet_at_a_new_database(tmp_path: Path) -> None:
    for round_ in range(10):
        databases = [Database(f"sqlite:///{tmp_path / f'{round_}.db'}", tables, Away) for _ in range(2)]
        together = Barrier(8)

        def first_use(place: int, databases=databases, together=together) -> None:
            together.wait()
            plant(databases[place % 2], place)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(first_use, range(8)))
        assert count(databases[0]) == 8
        for database in databases:
            database.close()


@pytest.mark.parametrize("url", ["nonsense", "nosuch://x/y", "postgresql://host:port/x"])
def test_a_url_that_is_none_is_told(url: str) -> None:
    with pytest.raises(UsageError, match="DATABASE_URL: not a database URL: expected postgresql://"):
        Database(url, tables, Away)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_a_driver_that_is_missing_is_told(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pg8000", None)
    with pytest.raises(UsageError, match=r"driver pg8000 is not installed; install `espalier\[postgres\]`"):
        Database(f"{scheme}://espalier@localhost/x", tables, Away)


def test_a_database_that_is_away_tells_nothing_of_itself() -> None:
    with pytest.raises(Away, match="retry later") as error:
        count(Database("postgresql://espalier@127.0.0.1:1/x", tables, Away))
    assert "127.0.0.1" not in str(error.value)
    assert isinstance(error.value.__cause__, sqlalchemy.exc.SQLAlchemyError)
