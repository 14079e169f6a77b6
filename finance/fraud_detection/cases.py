"""The case queue in SQLite or PostgreSQL: alerts wait for investigators, whose verdicts are labels.

One row per alert; the transaction's id is the case's. Labels lie apart, as most of them (chargebacks) belong to
transactions that raised no alert. Of two people, threads or replicas that want the same case exactly one gets it: a
change is one conditional statement.
"""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select, tuple_, update

from common.database import Database
from common.errors import InvalidRequest
from finance.fraud_detection.case_records import (
    DAYS,
    FRAUD,
    INVESTIGATOR,
    UNKNOWN,
    Alert,
    Case,
    CaseFile,
    CaseTaken,
    Id,
    Label,
    Millis,
    Page,
    QueueUnavailable,
    Said,
    State,
    Summary,
    UnknownCase,
    Verdict,
    VerdictConflict,
    cases,
    history,
    holding,
    known,
    tables,
)
from finance.fraud_detection.clock import DAY, MINUTE, NEVER, SECOND

if TYPE_CHECKING:
    import pandas as pd

    from common.config import Settings

SKEW = 5 * MINUTE  # by which another system's clock may be ahead of ours
CHUNK = 1000  # rows in one statement
PLACE = TypeAdapter(tuple[Millis, Millis, Id])  # priority, created and id of the last case of a page
KNOWN = (*Label.model_fields, "received")


def open_queue(settings: Settings) -> CaseQueue:
    """The queue in the database of `DATABASE_URL`, else in `<home>/fraud_cases.db`."""
    return CaseQueue(settings.database_url or f"sqlite:///{settings.home / 'fraud_cases.db'}")


class CaseQueue:
    """The tables behind one URL, made when they are missing; every method may be called from any thread, and blocks.

    `clock` gives the time in ms. Raises `UsageError` for a URL that is none, or names a database without its driver
    here. Methods raise `QueueUnavailable` when the database does not answer.
    """

    def __init__(self, url: str, clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._database, self._clock = Database(url, tables, QueueUnavailable), clock
        self.close = self._database.close

    def open_case(self, alert: Alert) -> bool:
        """Queue an alert; False when its transaction has a case already, which stays as it is."""
        return self.open_cases([alert]) == 1

    def open_cases(self, alerts: Sequence[Alert]) -> int:
        """Queue alerts, all or none, as `open_case` does; returns how many are new."""
        new = {"created": self._clock(), "state": "open", "note": ""}
        # In order of id, here and for labels: two transactions that wait for each other's rows would never end.
        in_order = sorted(alerts, key=lambda alert: alert.id)
        rows = [{**dict(alert), "priority": round(alert.score * alert.amount), **new} for alert in in_order]
        if not rows:
            return 0
        insert = self._database.insert(cases).on_conflict_do_nothing().returning(cases.c.id)
        with self._database.begin() as connection:
            return len(connection.execute(insert, rows).all())

    def find(self, id: str) -> CaseFile:
        """One case with all labels of its transaction; raises `UnknownCase`."""
        said = select(history).where(history.c.transaction == id).order_by(history.c.received, history.c.label_time)
        with self._database.begin() as connection:
            found = dict(self._find(connection, id))
            return CaseFile(**found, labels=[Said(**one) for one in connection.execute(said).mappings()])

    def next(
        self, limit: int = 50, *, state: State | None = "open", assignee: str | None = None, cursor: str = ""
    ) -> Page:
        """Up to `limit` cases, the largest expected loss first and of equal ones the oldest.

        `cursor` is that of the page before. It names a place in this order, not a number of cases: those that others
        take meanwhile make no page skip a case. Amounts of different currencies are compared as they stand. Raises
        `InvalidRequest` for a cursor that no page had.
        """
        wanted: list[ColumnElement[bool]] = [cases.c.state == state] if state else []
        wanted += [cases.c.assignee == assignee] if assignee else []
        if cursor:
            priority, created, id = _place(cursor)
            later = tuple_(cases.c.created, cases.c.id) > (created, id)
            wanted += [cases.c.priority <= priority, or_(cases.c.priority < priority, later)]
        in_order = cases.c.priority.desc(), cases.c.created, cases.c.id
        query = select(cases).where(*wanted).order_by(*in_order).limit(limit + 1)
        with self._database.begin() as connection:
            found = [Case(**row) for row in connection.execute(query).mappings()]
        if len(found) <= limit:
            return Page(cases=found, cursor=None)
        last = found[limit - 1]
        place = PLACE.dump_json((last.priority, last.created, last.id))
        return Page(cases=found[:limit], cursor=base64.urlsafe_b64encode(place).decode())

    def assign(self, id: str, person: str, *, instead_of: str | None = None) -> Case:
        """Give an open case to a person, or take it over from the one who has it, who must be named in `instead_of`.

        Who has the case already keeps it. Raises `UnknownCase`, and `CaseTaken` naming who has it.
        """
        free = or_(cases.c.assignee.is_not_distinct_from(instead_of), cases.c.assignee == person)
        change = update(cases).where(cases.c.id == id, cases.c.state != "closed", free).returning(cases)
        with self._database.begin() as connection:
            changed = connection.execute(change.values(state="assigned", assignee=person)).mappings().first()
            if changed is not None:
                return Case(**changed)
            raise _taken(self._find(connection, id))

    def decide(self, id: str, verdict: Verdict, person: str, note: str = "", *, reopen: bool = False) -> Case:
        """Close a case that nobody else has; the verdict is a label of its transaction, unless it is "unsure".

        The same verdict again changes nothing. A closed case takes another one with `reopen` only; "unsure" then takes
        the label back. Raises `UnknownCase`, `CaseTaken` naming who has it, `VerdictConflict`.
        """
        now, closed = self._clock(), cases.c.state == "closed"
        allowed = and_(~closed, or_(cases.c.assignee.is_(None), cases.c.assignee == person))
        if reopen:
            allowed = or_(allowed, and_(closed, cases.c.verdict != verdict))
        # Later than the verdict before, even when that was given by a replica whose clock is ahead.
        moment = case((cases.c.verdict_time >= now, cases.c.verdict_time + 1), else_=now)
        values = {"state": "closed", "assignee": person, "verdict": verdict, "verdict_time": moment, "note": note}
        with self._database.begin() as connection:
            change = update(cases).where(cases.c.id == id, allowed).values(**values).returning(cases)
            changed = connection.execute(change).mappings().first()
            if changed is None:
                found = self._find(connection, id)
                if found.state != "closed":
                    raise _taken(found)
                if found.verdict != verdict:
                    what, fix = f"{found.assignee} has closed the case as {found.verdict}", "say `reopen` to change it"
                    raise VerdictConflict(what, where=id, got=verdict, fix=fix)
                return found
            said = {"transaction": id, "source": INVESTIGATOR, "label_time": changed["verdict_time"]}
            said |= {"fraud": FRAUD[verdict], "received": now, "person": person, "note": note}
            self._keep(connection, [said])
            return Case(**changed)

    def label(self, given: Sequence[Label], person: str = "") -> int:
        """Keep labels that come from elsewhere, with or without a case, all or none; returns how many are new.

        Raises `InvalidRequest` for one from the future, taken back (-1), or in the name of the investigators.
        """
        now = self._clock()
        for place, label in enumerate(given):
            if label.label_time > now + SKEW:
                at, got = f"labels[{place}].label_time", label.label_time
                raise InvalidRequest("in the future", where=at, got=got, expected=f"at most {now}, which is now")
            if label.source == INVESTIGATOR or label.fraud == UNKNOWN:
                at, word, fix = f"labels[{place}]", f"{label.fraud} by {label.source}", "give a verdict on the case"
                raise InvalidRequest("only an investigator may say so", where=at, got=word, fix=fix)
        with self._database.begin() as connection:
            said = [{**dict(label), "received": now, "person": person, "note": ""} for label in given]
            return self._keep(connection, said)

    def current(self, transactions: Sequence[str]) -> list[Label]:
        """The labels that hold of some transactions, in order of time; of those without one, nothing."""
        query = select(*[known.c[name] for name in Label.model_fields]).order_by(known.c.label_time)
        with self._database.begin() as connection:
            found = connection.execute(query.where(known.c.transaction.in_(transactions))).mappings()
            return [Label(**label) for label in found]

    def labels(self, since: int = 0) -> Iterator[tuple[str, int, int]]:
        """All labels that hold as (transaction, fraud 0 or 1, label_time), in order of `label_time`.

        `since` leaves out what this queue received before (a delayed label has an earlier `label_time`).
        """
        place, last = tuple_(known.c.label_time, known.c.transaction), (-1, "")
        query = (
            select(known.c.transaction, known.c.fraud, known.c.label_time)
            .where(known.c.received >= since, known.c.fraud != UNKNOWN)
            .limit(CHUNK)
        )
        while True:
            with self._database.begin() as connection:
                page = connection.execute(query.where(place > last).order_by(*place.clauses)).all()
            if not page:
                return
            yield from map(tuple, page)
            last = (page[-1].label_time, page[-1].transaction)

    def export(self, since: int = 0) -> Iterator[dict[str, Any]]:
        """Cases of transactions since a time, in its order, with `fraud` and `label_time` (unknown: -1 and `NEVER`)."""
        clear = and_(known.c.transaction == cases.c.id, known.c.fraud != UNKNOWN)
        fraud = func.coalesce(known.c.fraud, UNKNOWN).label("fraud")
        label_time = func.coalesce(known.c.label_time, NEVER).label("label_time")
        query = select(*cases.c, fraud, label_time).outerjoin(known, clear)
        query, last = query.order_by(cases.c.time, cases.c.id).limit(CHUNK), (since, "")
        while True:
            with self._database.begin() as connection:
                page = connection.execute(query.where(tuple_(cases.c.time, cases.c.id) > last)).mappings().all()
            if not page:
                return
            yield from (dict(row) for row in page)
            last = (page[-1]["time"], page[-1]["id"])

    def to_frame(self, since: int = 0) -> pd.DataFrame:
        """`export` as a table for training, with a column per entity; alerts are no fair sample of all transactions."""
        import pandas as pd

        rows = [{**row.pop("entities"), **row} for row in self.export(since)]
        return pd.DataFrame(rows, columns=None if rows else [*Case.model_fields, "fraud", "label_time"])

    def summary(self) -> Summary:
        """The queue in numbers."""
        now = self._clock()
        days = range(now // DAY - DAYS + 1, now // DAY + 1)
        with self._database.begin() as connection:
            states, given = _counts(connection, cases.c.state), _counts(connection, cases.c.verdict)
            alerts = _counts(connection, cases.c.created // DAY, cases.c.created >= days[0] * DAY)
            waiting = select(cases.c.created).where(cases.c.state != "closed").order_by(cases.c.created).limit(1)
            middle = (states["open"] + states["assigned"]) // 2
            oldest, median = (connection.execute(waiting.offset(place)).scalar() for place in (0, middle))
        clear = given["fraud"] + given["legitimate"]
        return Summary(
            open=states["open"],
            assigned=states["assigned"],
            closed=states["closed"],
            oldest_s=None if oldest is None else (now - oldest) / SECOND,
            median_s=None if median is None else (now - median) / SECOND,
            alerts_per_day={time.strftime("%Y-%m-%d", time.gmtime(d * DAY // SECOND)): alerts[d] for d in days},
            verdicts={verdict: given[verdict] for verdict in FRAUD},
            precision=given["fraud"] / clear if clear else None,
        )

    def _find(self, connection: Connection, id: str) -> Case:
        found = connection.execute(select(cases).where(cases.c.id == id)).mappings().first()
        if found is None:
            raise UnknownCase("no alert was raised for this transaction", got=id, fix="GET cases lists those that were")
        return Case(**found)

    def _keep(self, connection: Connection, said: Sequence[dict[str, Any]]) -> int:
        """Put labels into the history and let those that now hold be known; returns how many are new."""
        said, new = sorted(said, key=lambda one: one["transaction"]), 0
        for start in range(0, len(said), CHUNK):
            part = {one["transaction"]: one for one in said[start : start + CHUNK]}
            self._know(connection, [{**one, "fraud": UNKNOWN} for one in part.values()], "received")  # locks the rows
            insert = self._database.insert(history).on_conflict_do_nothing().returning(history.c.fraud)
            new += len(connection.execute(insert, said[start : start + CHUNK]).all())
            every = select(history).where(history.c.transaction.in_(part))
            told: dict[str, list[Any]] = {}
            for one in connection.execute(every.order_by(history.c.label_time, history.c.fraud)).mappings():
                told.setdefault(one["transaction"], []).append(one)
            self._know(connection, [{**part[key], **holding(told[key])} for key in part], *KNOWN)
        return new

    def _know(self, connection: Connection, rows: Sequence[Mapping[str, Any]], *changed: str) -> None:
        """Write labels that hold; of those that are there only the columns `changed`."""
        upsert = self._database.insert(known)
        change = {name: upsert.excluded[name] for name in changed}
        upsert = upsert.on_conflict_do_update(index_elements=["transaction"], set_=change).returning(known.c.fraud)
        connection.execute(upsert, [{name: row[name] for name in KNOWN} for row in rows]).all()


def _counts(connection: Connection, what: ColumnElement[Any], *where: ColumnElement[bool]) -> Counter[Any]:
    query = select(what.label("what"), func.count()).where(*where).group_by("what")
    return Counter({key: int(count) for key, count in connection.execute(query)})


def _taken(found: Case) -> CaseTaken:
    if found.state == "closed":
        return CaseTaken(f"{found.assignee} has closed the case", where=found.id, fix="take another one")
    fix = "take it over by `instead_of`" if found.assignee else "leave out `instead_of`"
    return CaseTaken(f"{found.assignee or 'nobody'} has the case", where=found.id, fix=fix)


def _place(cursor: str) -> tuple[int, int, str]:
    try:
        return PLACE.validate_json(base64.urlsafe_b64decode(cursor), strict=True)
    except ValueError:
        raise InvalidRequest("no page had this cursor", where="cursor", expected="that of the page before") from None
