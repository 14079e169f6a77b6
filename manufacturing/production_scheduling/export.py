"""A plan as a table (CSV, RFC 4180) and as calendars (iCalendar, RFC 5545), for spreadsheets and shop-floor tablets."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

from common.errors import InvalidRequest
from manufacturing.production_scheduling.problem import Assignment, Problem, Schedule

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Text that begins so is a formula to a spreadsheet (OWASP, CSV injection); an apostrophe before it makes it text."""
MOST_OCTETS = 75
PRODUCT = "-//Espalier//production scheduling//EN"
Of = Literal["machine", "operator", "job"]
COLUMNS = ("job", "operation", "machine", "start", "end", "operators", "due")


def to_csv(problem: Problem, schedule: Schedule, *, origin: datetime | None = None, unit_seconds: int = 60) -> str:
    """A row for each operation by start, with moments of time beside the numbers where `origin` is given."""
    target = io.StringIO()
    table = csv.writer(target)
    table.writerow([*COLUMNS, *(("starts_at", "ends_at") if origin else ())])
    for one in _ordered(schedule):
        due = problem.job[one.job].due
        people = ", ".join(one.operators)
        row = [one.job, one.operation, one.machine, one.start, one.end, people, "" if due is None else due]
        if origin:
            row += [_moment(origin, t, unit_seconds).isoformat() for t in (one.start, one.end)]
        table.writerow([_harmless(cell) if isinstance(cell, str) else cell for cell in row])
    return target.getvalue()


def to_ical(
    problem: Problem,
    schedule: Schedule,
    *,
    origin: datetime,
    unit_seconds: int = 60,
    of: Of = "machine",
    name: str = "",
    stamp: datetime | None = None,
) -> str:
    """One calendar with the operations of one machine, operator or job, or of all where `name` is empty.

    An operation keeps its UID from plan to plan, so that a calendar that is subscribed to moves it and has no second.
    Raises `InvalidRequest` for an unknown name, an origin without a zone, and times beyond the year 9999.
    """
    if origin.utcoffset() is None:
        raise InvalidRequest("no zone", where="origin", got=origin.isoformat(), fix="write 2026-01-05T06:00:00+01:00")
    known = _names(problem, of)
    if name and name not in known:
        shown = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
        raise InvalidRequest(f"no such {of}", where="name", got=repr(name[:60]), expected=f"one of {shown}")
    title = name or problem.name or "Plan"
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", f"PRODID:{PRODUCT}", "CALSCALE:GREGORIAN", "METHOD:PUBLISH"]
    lines.append(f"X-WR-CALNAME:{_text(title)}")
    now = _utc(stamp or datetime.now(UTC))
    for one in _ordered(schedule):
        if not name or name in _of(one, of):
            lines += _event(problem, one, origin, unit_seconds, now)
    lines.append("END:VCALENDAR")
    return "".join(f"{part}\r\n" for line in lines for part in _folded(line))


def _event(problem: Problem, one: Assignment, origin: datetime, unit_seconds: int, now: str) -> Iterator[str]:
    key = "\x00".join((problem.name, one.job, one.operation)).encode()
    job = problem.job[one.job]
    facts = [f"Job {one.job}, operation {one.operation} on {one.machine}", *one.operators]
    if job.due is not None:
        facts.append(f"Due {_moment(origin, job.due, unit_seconds).isoformat()}")
    yield "BEGIN:VEVENT"
    yield f"UID:{hashlib.sha256(key).hexdigest()[:32]}@espalier"
    yield f"DTSTAMP:{now}"
    yield f"DTSTART:{_utc(_moment(origin, one.start, unit_seconds))}"
    yield f"DTEND:{_utc(_moment(origin, one.end, unit_seconds))}"
    yield f"SUMMARY:{_text(f'{one.job} · {one.operation}')}"
    yield f"LOCATION:{_text(one.machine)}"
    yield f"DESCRIPTION:{_text(chr(10).join(facts))}"
    yield "TRANSP:OPAQUE"
    yield "END:VEVENT"


def _ordered(schedule: Schedule) -> list[Assignment]:
    return sorted(schedule.assignments, key=lambda one: (one.start, one.machine, one.job))


def _names(problem: Problem, of: Of) -> list[str]:
    if of == "operator":
        return [f"{pool.name} {number}" for pool in problem.operators for number in range(1, pool.count + 1)]
    return [one.name for one in (problem.machines if of == "machine" else problem.jobs)]


def _of(one: Assignment, of: Of) -> tuple[str, ...]:
    return one.operators if of == "operator" else (one.machine if of == "machine" else one.job,)


def _moment(origin: datetime, t: int, unit_seconds: int) -> datetime:
    try:
        moment = origin + timedelta(seconds=t * unit_seconds)
        moment.astimezone(UTC)
        return moment
    except OverflowError:
        raise InvalidRequest(
            "a time beyond the year 9999", where="unit_seconds", got=f"{t} x {unit_seconds} s"
        ) from None


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _text(text: str) -> str:
    """Escaped (3.3.11); control characters are no text."""
    text = re.sub(r"\r\n?", "\n", text)
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", " ", text)
    return re.sub(r"([\\;,])", r"\\\1", text).replace("\n", "\\n")


def _folded(line: str) -> Iterator[str]:
    """Parts of at most 75 octets, the later ones after a blank, cut between characters (3.1)."""
    part, size = "", 0
    for character in line:
        width = len(character.encode())
        if size + width > MOST_OCTETS:
            yield part
            part, size = " ", 1
        part, size = part + character, size + width
    yield part


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text
