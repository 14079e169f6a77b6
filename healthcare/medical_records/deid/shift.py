"""Dates moved by one number of days per patient: intervals and weekdays stay, ages over 89 become 90+.

The number is a multiple of seven, four to fifty-two weeks back or on, from HMAC-SHA256 of the patient under a secret:
who has no key cannot tell it, and every note of the patient moves alike.
"""

from __future__ import annotations

import calendar
import hmac
import re
from collections.abc import Iterable
from datetime import date, timedelta

OLDEST = 89
"""Years; an age above it is 90+ (45 CFR 164.514(b)(2)(i)(C))."""
MONTHS = [month.lower() for month in calendar.month_name[1:]]
HAN = "〇一二三四五六七八九"
_HAN = "[〇零○一二三四五六七八九十]"
_SPACE = r"[-, ]{1,2}(?:of )?"
_MON = r"(?P<mon>[A-Za-z]{3,9})\.?"
_TH = r"(?P<th>st|nd|rd|th)?"
FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})(?!\d)",
        r"(?P<m>\d{1,2})[-/](?P<d>\d{1,2})[-/](?P<y>\d{4}|\d\d)(?!\d)",
        r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})(?!\d)",
        rf"(?P<y>\d{{4}})[- ]{_MON}[- ](?P<d>\d{{1,2}})(?!\d)",
        rf"(?P<d>\d{{1,2}}){_TH}{_SPACE}{_MON}(?:{_SPACE}'?(?P<y>\d{{4}}|\d\d)(?![\d:]))?",
        rf"{_MON},? (?:of )?(?P<y>\d{{4}})(?!\d)",
        rf"{_MON} ?(?P<d>\d{{1,2}}){_TH}(?!\d)(?:{_SPACE}'?(?P<y>\d{{4}}|\d\d)(?![\d:]))?",
        rf"(?P<y>\d{{4}}|\d\d|{_HAN}{{4}})年(?:(?P<m>\d{{1,2}}|{_HAN}{{1,2}})月(?:(?P<d>\d{{1,2}}|{_HAN}{{1,3}})[日号])?)?",
        rf"(?P<m>\d{{1,2}}|{_HAN}{{1,2}})月(?P<d>\d{{1,2}}|{_HAN}{{1,3}})[日号]",
        r"(?P<m>\d{1,2})/(?P<d>\d{1,2})(?![\d/])",
        r"(?P<y>\d{4})(?!\d)",
    )
)
WEEKDAY = re.compile(r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?|(?:星期|周)[一二三四五六日天]", re.IGNORECASE)


def days_of(key: bytes, patient: str) -> int:
    """How many days the dates of a patient move."""
    number = int.from_bytes(hmac.digest(key, b"days:" + patient.encode(), "sha256")[:8], "big")
    return 7 * (4 + number // 2 % 49) * (1 if number % 2 else -1)


def shifted(text: str, days: int, *, year: int = 2001, newest: int | None = None) -> str | None:
    """The date that a text writes, `days` later in the same writing; a time behind it stays.

    A day without a year is taken to be of `year`; a month without a day for its middle, as is a year. `1/2/2020` is
    the second of January unless the first number is no month. A weekday stays. None for what is no date, such as
    2/30/2020, and for a year more than 89 before `newest`, which would tell the age of an old patient.
    """
    if WEEKDAY.fullmatch(text):
        return text
    for form in FORMS:
        if (match := form.match(text)) and (parts := _read(match, year)):
            when, named = parts
            try:
                moved = when + timedelta(days=days)
            except OverflowError:
                return None
            if newest is not None and "y" in named and when.year < newest - OLDEST:
                return None
            return _written(match, moved, named) + text[match.end() :]
    return None


def years(texts: Iterable[str]) -> list[int]:
    """The years that dates write, in their order."""
    found = []
    for text in texts:
        match = next((m for form in FORMS if (m := form.match(text)) and m.groupdict().get("y")), None)
        if match and (parts := _read(match, 2001)):
            found.append(parts[0].year)
    return found


def capped(age: str) -> str:
    """An age, or 90+ for one above 89."""
    return "90+" if int(age) > OLDEST else age


def _read(match: re.Match[str], year: int) -> tuple[date, dict[str, str]] | None:
    """The day that is written, and which group holds which part: `m` and `d` change places in 31/1/2020."""
    groups = {name: value for name, value in match.groupdict().items() if value}
    named = {name: name for name in groups}
    numbers = {name: _number(value) for name, value in groups.items() if name in ("y", "m", "d")}
    if "mon" in groups:
        month = [at for at, name in enumerate(MONTHS, 1) if name.startswith(groups["mon"].lower()[:4].rstrip("."))]
        if len(month) != 1:
            return None
        numbers["m"] = month[0]
    if "y" in numbers and len(groups["y"]) == 2:
        numbers["y"] += 2000 if numbers["y"] < 40 else 1900
    if numbers.get("m", 1) > 12 >= numbers.get("d", 13) and "/" in match.group():
        numbers["m"], numbers["d"] = numbers["d"], numbers["m"]
        named["m"], named["d"] = "d", "m"
    try:
        when = date(numbers.get("y", year), numbers.get("m", 7), numbers.get("d", 15 if "m" in numbers else 1))
    except ValueError:
        if numbers.get("m") == 2 and numbers.get("d") == 29 and "y" not in numbers:
            return date(2000, 2, 29), named
        return None
    return when, named


def _written(match: re.Match[str], when: date, named: dict[str, str]) -> str:
    text, shift = match.group(), -match.start()
    places = sorted(((match.span(group), name) for name, group in named.items()), reverse=True)
    for (start, end), name in places:
        old = text[start + shift : end + shift]
        text = text[: start + shift] + _part(name, old, when) + text[end + shift :]
    return text


def _part(name: str, old: str, when: date) -> str:
    if name == "mon":
        full = MONTHS[when.month - 1]
        word = full if len(old) > 4 or old.lower() in MONTHS else full[:3]
        return word.upper() if old.isupper() else word.capitalize() if old[0].isupper() else word
    if name == "th":
        return {1: "st", 2: "nd", 3: "rd"}.get(when.day % 10 if when.day // 10 != 1 else 0, "th")
    number = {"y": when.year, "m": when.month, "d": when.day}[name]
    if not old.isascii():
        return "".join(HAN[int(c)] for c in str(number)) if name == "y" else _han(number)
    if name == "y":
        return f"{number % 100:02d}" if len(old) == 2 else str(number)
    return f"{number:02d}" if old[0] == "0" else str(number)


def _number(text: str) -> int:
    if text.isascii():
        return int(text)
    digits = {**{c: n for n, c in enumerate(HAN)}, "零": 0, "○": 0}
    if "十" not in text:
        return int("".join(str(digits[c]) for c in text))
    tens, ones = text.split("十", 1)
    return (digits.get(tens, 1) if tens else 1) * 10 + (digits.get(ones, 0) if ones else 0)


def _han(number: int) -> str:
    tens, ones = divmod(number, 10)
    return ("" if not tens else "十" if tens == 1 else f"{HAN[tens]}十") + (HAN[ones] if ones else "")
