"""Dates move by one number of days per patient; intervals, weekdays and the writing stay."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthcare.medical_records.deid.shift import capped, days_of, shifted, years

KEY = b"0123456789abcdef"
WRITINGS = (
    "{0.year}-{0.month:02d}-{0.day:02d}",
    "{0.month:02d}/{0.day:02d}/{0.year}",
    "{0:%B} {0.day}, {0.year}",
    "{0.day:02d}-{0:%b}-{0.year}",
    "{0.year}年{0.month}月{0.day}日",
    "{0.day:02d}.{0.month:02d}.{0.year}",
)


@settings(deadline=None)
@given(st.dates(date(1902, 1, 1), date(2090, 1, 1)), st.sampled_from(WRITINGS), st.text(max_size=9))
def test_the_same_writing_some_days_later(when: date, writing: str, patient: str) -> None:
    days = days_of(KEY, patient)
    assert days % 7 == 0
    assert 28 <= abs(days) <= 364
    moved = when + timedelta(days=days)
    expected = writing.format(moved)
    made = shifted(writing.format(when), days)
    assert made is not None
    if "%b" in writing and when.month == 5:
        return  # May is its own abbreviation
    if writing.startswith(("{0.year}年", "{0:%B}")):
        assert made == expected
    else:  # a month or day below ten may lose its zero when the old one had none
        assert _parts(made) == _parts(expected)


def _parts(text: str) -> list[int | str]:
    return [int(part) if part.isdigit() else part for part in text.replace("/", "-").replace(".", "-").split("-")]


@pytest.mark.parametrize(
    ("text", "later"),
    [
        ("3/5/2020", "3/12/2020"),
        ("13/5/2020", "20/5/2020"),
        ("03/05/20", "03/12/20"),
        ("3rd of March 2020", "10th of March 2020"),
        ("DEC 24th, 1999", "DEC 31st, 1999"),
        ("Mar 2020", "Mar 2020"),
        ("二〇二〇年十二月三十一日", "二〇二一年一月七日"),
        ("3月5日", "3月12日"),
        ("2020-03-05 12:30", "2020-03-12 12:30"),
        ("1980", "1980"),
        ("Friday", "Friday"),
        ("周三", "周三"),
        ("3/30", "4/6"),
        ("2/30/2020", None),
        ("sometime", None),
    ],
)
def test_a_week_later(text: str, later: str | None) -> None:
    assert shifted(text, 7) == later


def test_dates_of_the_very_old_go() -> None:
    assert shifted("5/5/1920", 28, newest=2020) is None
    assert shifted("5/5/1940", 28, newest=2020) == "6/2/1940"
    assert [capped(age) for age in ("89", "90", "101")] == ["89", "90+", "90+"]
    assert years(["3/5/2020", "May 3", "1999"]) == [2020, 1999]


def test_patients_and_keys_move_apart() -> None:
    assert len({days_of(KEY, str(patient)) for patient in range(200)}) > 50
    assert any(days_of(KEY, str(p)) != days_of(b"another key, 16+", str(p)) for p in range(9))
