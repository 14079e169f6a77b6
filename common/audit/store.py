"""Decisions and labels in SQLite or PostgreSQL, by SQLAlchemy.

One record per request, however many rows it had: inputs and answers are one compressed JSON text each, so that a
request of 10,000 rows is one insert. A label belongs to a row of a decision, `<id>` or `<id>.<row>`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from sqlalchemy import and_, bindparam, cast, delete, func, select, tuple_
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY

from common.audit.tables import decisions, labels, tables
from common.database import Database
from common.errors import RequestError

# One column of all records as one array: a round trip per batch, where executemany makes one per record.
ARRAYS = (
    postgresql.insert(decisions)
    .from_select(
        list(decisions.c),
        select(*[func.unnest(cast(bindparam(column.name), ARRAY(column.type))) for column in decisions.c]),
    )
    .on_conflict_do_nothing()
)
NAMES = [column.name for column in decisions.c]
INTO_SQLITE = f"INSERT OR IGNORE INTO decisions ({', '.join(NAMES)}) VALUES "
ONE_ROW = f"({', '.join('?' * len(NAMES))})"
TOGETHER = 64  # records in one statement, below the 999 parameters of an old SQLite
ZLIB = b"x"  # the first byte of what it compresses, and of no JSON list or object
SMALL = 2048  # bytes; compressing less costs more time (20 µs) than its room is worth
CHUNK = 1000  # records deleted, or read for an export, in one transaction
CHUNK_BYTES = 32 * 1024**2  # read for an export: 1,000 pictures would take gigabytes


class AuditUnavailable(RequestError):
    """The audit database does not answer."""

    status = 503


class UnknownDecision(RequestError):
    """No decision on record has this id."""

    status = 404


class LabelConflict(RequestError):
    """The decision has another label already."""

    status = 409


class Store:
    """The tables behind one URL, made when they are missing; every method may be called from any thread.

    Raises `UsageError` for a URL that is none, or names a database without its driver here. Methods raise
    `AuditUnavailable` when the database does not answer.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url, tables, AuditUnavailable, ["secure_delete=ON"])  # erased is erased
        self.close = self._database.close

    def add(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Keep decisions, all or none; one that is there already stays, so that a write may be tried again."""
        with self._database.begin() as connection:
            if self._database.is_sqlite:
                # The driver itself: SQLAlchemy would add 20 µs to each record. Many in a statement: between two of them
                # the event loop is made to give up the interpreter.
                for start in range(0, len(records), TOGETHER):
                    part = records[start : start + TOGETHER]
                    values = tuple(record.get(name) for record in part for name in NAMES)
                    connection.exec_driver_sql(INTO_SQLITE + ", ".join([ONE_ROW] * len(part)), values)
            else:
                columns = {column.name: [record.get(column.name) for record in records] for column in decisions.c}
                connection.execute(ARRAYS, columns)

    def find(self, decision: str) -> dict[str, Any]:
        """One decision with inputs, output and label of its row (all rows without one); raises `UnknownDecision`."""
        key, row = split(decision)
        with self._database.begin() as connection:
            found = connection.execute(select(decisions).where(decisions.c.id == key)).mappings().first()
            if found is None or (row or 0) >= found["rows"]:
                raise _unknown(decision)
            given = connection.execute(select(labels.c.row, labels.c.label).where(labels.c.decision == key)).all()
        inputs, answers = unpack(found["inputs"]), unpack(found["answers"])
        known = {place: json.loads(label) for place, label in given}
        shown: dict[str, Any] = {"inputs": inputs[row or 0], "output": answers[row or 0], "label": known.get(row or 0)}
        if row is None and found["rows"] > 1:
            shown = {"inputs": inputs, "output": answers, "label": [known.get(i) for i in range(found["rows"])]}
        return {name: value for name, value in found.items() if name not in ("inputs", "answers", "subject")} | shown

    def label(self, given: Sequence[tuple[str, Any]], caller: str, now: float) -> list[dict[str, Any]]:
        """Keep labels `(decision, label)`, all or none; returns the decisions that had none, with `output`, `label`.

        The same label again changes nothing. Raises `UnknownDecision`, and `LabelConflict` for another label.
        """
        keys = {split(decision)[0] for decision, _ in given}
        with self._database.begin() as connection:
            found = {
                record["id"]: record
                for record in connection.execute(select(decisions).where(decisions.c.id.in_(keys))).mappings()
            }
            places: dict[tuple[str, int], Any] = {}
            for decision, label in given:
                key, row = split(decision)
                if key not in found or (row or 0) >= found[key]["rows"]:
                    raise _unknown(decision)
                if row is None and found[key]["rows"] > 1:
                    rows = found[key]["rows"]
                    raise UnknownDecision(
                        "which row?", got=decision, expected=f"{decision}.0 to {decision}.{rows - 1}", fix="add the row"
                    )
                if places.setdefault((key, row or 0), label) != label:
                    raise LabelConflict("two labels for one decision", got=decision, expected="one")
            place = tuple_(labels.c.decision, labels.c.row)
            known = {
                (key, row): json.loads(label)
                for key, row, label in connection.execute(
                    select(labels.c.decision, labels.c.row, labels.c.label).where(place.in_(list(places)))
                )
            }
            for at, label in known.items():
                if label != places[at]:
                    got = f"{at[0]}.{at[1]}"
                    raise LabelConflict("the decision has another label", got=got, expected="the label it has")
            fresh = {at: label for at, label in places.items() if at not in known}
            if fresh:
                connection.execute(
                    self._database.insert(labels).on_conflict_do_nothing(),
                    [
                        {"decision": key, "row": row, "label": json.dumps(label), "time": now, "caller": caller}
                        for (key, row), label in fresh.items()
                    ],
                )
        answers = {key: unpack(found[key]["answers"]) for key, _ in fresh}
        return [{**found[key], "output": answers[key][row], "label": label} for (key, row), label in fresh.items()]

    def tally(self, system: str, version: str) -> tuple[int, list[tuple[Any, int]]]:
        """Rows that a model decided on, those of a shadow not counted, and how often they got each label."""
        mine = and_(decisions.c.system == system, decisions.c.version == version, decisions.c.role != "shadow")
        joined = select(labels.c.label, func.count()).join(decisions, decisions.c.id == labels.c.decision)
        with self._database.begin() as connection:
            rows = connection.execute(select(func.coalesce(func.sum(decisions.c.rows), 0)).where(mine)).scalar_one()
            given = connection.execute(joined.where(mine).group_by(labels.c.label)).all()
        return int(rows), [(json.loads(label), int(count)) for label, count in given]

    def labelled(self, system: str, version: str, most: int) -> list[tuple[Any, Any]]:
        """The latest `(label, answer)` of a model's champion decisions, oldest first."""
        answered = select(labels.c.row, labels.c.label, decisions.c.answers)
        joined = answered.join(decisions, decisions.c.id == labels.c.decision)
        mine = and_(decisions.c.system == system, decisions.c.version == version)
        with self._database.begin() as connection:
            found = connection.execute(joined.where(mine).order_by(labels.c.time.desc()).limit(most)).all()
        return [(json.loads(label), unpack(answers)[row]) for row, label, answers in reversed(found)]

    def labelled_pairs(self, system: str, shadow: str, most: int) -> list[tuple[Any, Any, Any]]:
        """The latest labels of decisions that a version shadowed: `(label, answer, answer of the shadow)`."""
        mine = decisions.alias()
        joined = (
            select(labels.c.row, labels.c.label, decisions.c.answers, mine.c.answers)
            .join(decisions, decisions.c.id == labels.c.decision)
            .join(mine, mine.c.pair == decisions.c.id)
            .where(and_(mine.c.system == system, mine.c.version == shadow))
        )
        with self._database.begin() as connection:
            found = connection.execute(joined.order_by(labels.c.time.desc()).limit(most)).all()
        return [(json.loads(label), unpack(one)[row], unpack(other)[row]) for row, label, one, other in found]

    def erase(self, subject: str) -> int:
        """Delete all decisions of a subject (as `Mask.subject` writes it) with their labels; returns how many."""
        erased = self._delete(decisions.c.subject == subject)
        if self._database.is_sqlite and erased:  # until then the write-ahead log still has them
            with self._database.begin() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return erased

    def purge(self, before: float) -> int:
        """Delete decisions older than a time (seconds since 1970) with their labels; returns how many."""
        return self._delete(decisions.c.time < before)

    def export(self, system: str = "", since: float = 0.0) -> Iterator[dict[str, Any]]:
        """All rows of all decisions as `{decision_id, time, system, version, role, inputs, output, label}`, in order of
        time; about `CHUNK_BYTES` of them are in memory at once."""
        last: tuple[float, str] = (since, "")
        while True:
            after = tuple_(decisions.c.time, decisions.c.id) > last
            wanted = and_(after, decisions.c.system == system) if system else after
            in_order = decisions.c.time, decisions.c.id
            with self._database.begin() as connection:
                sizes = connection.execute(
                    select(func.length(decisions.c.inputs)).where(wanted).order_by(*in_order).limit(CHUNK)
                ).scalars()
                most = 1 + sum(total < CHUNK_BYTES for total in accumulate(sizes))
                found = select(decisions).where(wanted).order_by(*in_order).limit(most)
                page = connection.execute(found).mappings().all()
                keys = [record["id"] for record in page]
                given = connection.execute(select(labels).where(labels.c.decision.in_(keys))).mappings().all()
            if not page:
                return
            known = {(label["decision"], label["row"]): json.loads(label["label"]) for label in given}
            for record in page:
                base = {name: record[name] for name in ("time", "system", "version", "role")}
                pairs = zip(unpack(record["inputs"]), unpack(record["answers"]), strict=True)
                for row, (inputs, output) in enumerate(pairs):
                    base["decision_id"] = f"{record['id']}.{row}"
                    yield {**base, "inputs": inputs, "output": output, "label": known.get((record["id"], row))}
            last = (page[-1]["time"], page[-1]["id"])

    def _delete(self, which: Any) -> int:
        """Chunk by chunk; returns how many."""
        deleted = 0
        while True:
            with self._database.begin() as connection:
                keys = connection.execute(select(decisions.c.id).where(which).limit(CHUNK)).scalars().all()
                if not keys:
                    return deleted
                connection.execute(delete(labels).where(labels.c.decision.in_(keys)))
                connection.execute(delete(decisions).where(decisions.c.id.in_(keys)))
            deleted += len(keys)


def split(decision: str) -> tuple[str, int | None]:
    """`<id>` or `<id>.<row>` as id and row."""
    key, dot, row = decision.partition(".")
    return key, int(row) if dot else None


def pack(content: bytes) -> bytes:
    """JSON as it is stored, plain when it is small; level 1 takes a fifth of level 6's time."""
    return content if len(content) <= SMALL else zlib.compress(content, 1)


def unpack(content: bytes) -> list[Any]:
    """The rows of what `pack` packed: a list of them, or a batch `{"rows": [...]}` as it was sent."""
    found = json.loads(zlib.decompress(content) if content[:1] == ZLIB else content)
    return found if isinstance(found, list) else found["rows"]


def _unknown(decision: str) -> UnknownDecision:
    fix = "give X-Decision-Id of an answer, for a batch with .<row>"
    return UnknownDecision("no such decision is on record", got=decision, fix=fix)
