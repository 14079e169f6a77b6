"""Tables and calendars, read back by the rules of their formats."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hall import EVIL, planned

from common.errors import InvalidRequest
from manufacturing.production_scheduling.export import to_csv, to_ical
from manufacturing.production_scheduling.problem import Problem, Schedule

ORIGIN = datetime(2026, 1, 5, 6, tzinfo=timezone(timedelta(hours=1)))


def parsed(text: str) -> list[dict[str, str]]:
    """The events of a calendar, by RFC 5545: lines end in CRLF, are unfolded, and text is unescaped."""
    assert text.endswith("\r\n")
    assert "\n" not in text.replace("\r\n", "")
    lines = text[:-2].split("\r\n")
    assert all(len(line.encode()) <= 75 for line in lines)
    whole: list[str] = []
    for line in lines:
        if line.startswith(" "):
            whole[-1] += line[1:]
        else:
            whole.append(line)
    assert whole[:4] == ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Espalier//production scheduling//EN", whole[3]]
    assert whole[-1] == "END:VCALENDAR"
    events: list[dict[str, str]] = []
    for line in whole:
        name, _, value = line.partition(":")
        assert re.fullmatch(r"[A-Z-]+", name)
        if line == "BEGIN:VEVENT":
            events.append({})
        elif events and name not in ("BEGIN", "END"):
            assert name not in events[-1]
            if name in ("SUMMARY", "LOCATION", "DESCRIPTION"):
                assert not re.search(r"(?<!\\)(\\\\)*[;,]", value), "a comma or semicolon that is not escaped"
            unescaped = re.sub(r"\\(.)", lambda m: "\n" if m[1] in "nN" else m[1], value)
            events[-1][name] = unescaped
    return events


def test_calendar_of_the_plan() -> None:
    problem, schedule = planned()
    events = parsed(to_ical(problem, schedule, origin=ORIGIN))
    assert len(events) == len(schedule.assignments)
    assert len({event["UID"] for event in events}) == len(events)
    by = {(event["SUMMARY"], event["LOCATION"]): event for event in events}
    for one in schedule.assignments:
        event = by[f"{one.job} · {one.operation}", one.machine]
        for field, time in (("DTSTART", one.start), ("DTEND", one.end)):
            found = datetime.strptime(event[field], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            assert found == ORIGIN + timedelta(minutes=time)
        assert re.fullmatch(r"\d{8}T\d{6}Z", event["DTSTAMP"])


def test_calendar_of_one() -> None:
    problem, schedule = planned()
    mill = parsed(to_ical(problem, schedule, origin=ORIGIN, name="Mill"))
    assert {event["LOCATION"] for event in mill} == {"Mill"}
    assert len(mill) == 4
    people = [parsed(to_ical(problem, schedule, origin=ORIGIN, of="operator", name=f"millers {n}")) for n in (1, 2)]
    assert sum(map(len, people)) == 4
    job = parsed(to_ical(problem, schedule, origin=ORIGIN, of="job", name="Ö-3; a, b\\c\n2nd line"))
    assert len(job) == 4
    with pytest.raises(InvalidRequest, match="no such machine: got 'Press', expected one of Saw, Mill, Lathe, Oven"):
        to_ical(problem, schedule, origin=ORIGIN, name="Press")


def test_an_operation_keeps_its_uid_when_it_moves() -> None:
    problem, schedule = planned()
    later = Schedule(
        assignments=tuple(
            one.model_copy(update={"start": one.start + 5, "end": one.end + 5}) for one in schedule.assignments
        )
    )
    one, two = ({e["UID"] for e in parsed(to_ical(problem, s, origin=ORIGIN))} for s in (schedule, later))
    assert one == two


def test_times_need_a_zone_and_a_year() -> None:
    problem, schedule = planned()
    with pytest.raises(InvalidRequest, match="origin: no zone"):
        to_ical(problem, schedule, origin=datetime(2026, 1, 5))
    with pytest.raises(InvalidRequest, match="beyond the year 9999"):
        to_ical(problem, schedule, origin=datetime(9999, 12, 31, tzinfo=UTC), unit_seconds=86_400)
    with pytest.raises(InvalidRequest, match="beyond the year 9999"):
        to_csv(problem, schedule, origin=datetime(9999, 12, 31, 22, tzinfo=UTC))


def test_table_is_harmless_to_a_spreadsheet_and_complete() -> None:
    problem, schedule = planned()
    rows = list(csv.reader(io.StringIO(to_csv(problem, schedule, origin=ORIGIN), newline="")))
    assert rows[0] == ["job", "operation", "machine", "start", "end", "operators", "due", "starts_at", "ends_at"]
    assert len(rows) == 1 + len(schedule.assignments)
    assert {row[0] for row in rows[1:]} == {"'=1+1", EVIL, "Ö-3; a, b\\c\n2nd line", "O-4"}
    first = schedule.by_operation["=1+1", "saw"]
    row = next(row for row in rows if row[:2] == ["'=1+1", "saw"])
    assert (int(row[3]), int(row[4])) == (first.start, first.end)
    assert datetime.fromisoformat(row[7]) == ORIGIN + timedelta(minutes=first.start)
    assert len(next(csv.reader(io.StringIO(to_csv(problem, schedule))))) == 7


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\tx", "\rx"])
def test_formulas_become_text(name: str) -> None:
    problem = Problem.model_validate(
        {"machines": [{"name": name}], "jobs": [{"name": name, "operations": [{"durations": {name: 1}}]}]}
    )
    row = {"job": name, "operation": "1", "machine": name, "start": 0, "end": 1}
    schedule = Schedule.model_validate({"assignments": [row]})
    table = list(csv.reader(io.StringIO(to_csv(problem, schedule), newline="")))
    assert table[1][0] == table[1][2] == f"'{name}"
