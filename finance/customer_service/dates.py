"""Dates said in any way, English and Chinese, made ISO 8601 with a given today."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Iterator
from datetime import date, timedelta

from finance.customer_service.numbers import WORDS, chinese, english
from finance.customer_service.understood import Entity

MONTHS = {m: i for i, m in enumerate(re.findall("...", "janfebmaraprmayjunjulaugsepoctnovdec"), start=1)}
DAYS = {"monday": 0, "tuesday": 1, "wednesday": 2, "thursday": 3, "friday": 4, "saturday": 5, "sunday": 6}
DAYS |= {d[:length]: i for d, i in list(DAYS.items()) for length in (3, 4)} | {"tues": 1, "thurs": 3}
WEEKDAYS = dict(zip("一二三四五六日天", (*range(7), 6), strict=True)) | dict(zip("123456", range(6), strict=True))
_SAID = (
    "大前天;前天|the day before yesterday|day before yesterday;昨天|昨日|昨晚|yesterday|last night;"
    "今天|今日|今晚|今早|today|tonight;明天|明日|明早|明晚|tomorrow;"
    "后天|day after tomorrow|the day after tomorrow;大后天"
)
SAID = {word: days for days, words in enumerate(_SAID.split(";"), -3) for word in words.split("|")}
_AWAY = ("上上", "上|last|previous", "这|本|this", "下|next|coming", "下下")
AWAY = {word: away for away, words in enumerate(_AWAY, -2) for word in words.split("|")}
YEARS = {"去年": -1, "今年": 0, "明年": 1, "前年": -2, "后年": 2}

_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY = r"(?P<day>[12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)?\b"
_WHICH = r"(?P<which>next|last|previous|this|coming|on|by)"
_WEEKDAY = "|".join(sorted(DAYS, key=len, reverse=True))
_N = rf"(?P<n>\d{{1,4}}|{WORDS}|an?|[一二两三四五六七八九十]{{1,3}})"
_HAN_DAY = r"(?P<day>\d{1,2}|[一二三四五六七八九十]{1,3})[日号](?![线楼门院店码])"
_HAN_MONTH = r"(?P<month>\d{1,2}|[一二三四五六七八九十]{1,2})月份?"


def find_dates(text: str, folded: str, today: date) -> Iterator[Entity]:
    """Dates of a text; `folded` is `fold(text)`; may overlap, the longer first where both start alike.

    A day without a year is the nearest one, a weekday alone the next one (today included), `next` and 下 are counted in
    weeks from Monday, `last` names the latest past one. A week, month or year is its first day, and a
    month alone the latest that has begun. 03/04/2026 is 3 April.
    """
    for pattern, read in RULES:
        for found in pattern.finditer(folded):
            try:
                day = read(found, today)
            except (ValueError, OverflowError):
                continue
            if day:
                yield Entity("date", found.start(), found.end(), text[found.start() : found.end()], day.isoformat())


def _iso(found: re.Match[str], today: date) -> date:
    return date(int(found["year"]), int(found["month"]), int(found["day"]))


def _european(found: re.Match[str], today: date) -> date:
    day, month, year = int(found["day"]), int(found["month"]), int(found["year"])
    year += 2000 if year < 100 else 0
    return date(year, day, month) if month > 12 else date(year, month, day)


def _named(found: re.Match[str], today: date) -> date:
    month, day = MONTHS[found["month"][:3].lower()], int(found["day"])
    return date(int(found["year"]), month, day) if found["year"] else _nearest(month, day, today)


def _month(found: re.Match[str], today: date) -> date:
    month = MONTHS[found["month"][:3].lower()]
    return date(int(found["year"]), month, 1) if found["year"] else _latest(month, today)


def _han(found: re.Match[str], today: date) -> date | None:
    month, day = _int(found["month"]), _int(found["day"] or "1")
    said = found["year"]
    if not said:
        return _nearest(month, day, today) if found["day"] else _latest(month, today)
    year = today.year + YEARS[said] if said in YEARS else _int(said.rstrip("年"))
    return date(year + 2000 if year < 100 else year, month, day)


def _han_day(found: re.Match[str], today: date) -> date:
    day = _int(found["day"])
    return _months(today, AWAY[found["which"]], day) if found["which"] else _nearest_day(day, today)


def _english_day(found: re.Match[str], today: date) -> date:
    return _nearest_day(int(found["day"]), today)


def _said(found: re.Match[str], today: date) -> date:
    return today + timedelta(SAID[found.group().lower()])


def _ago(found: re.Match[str], today: date) -> date:
    n = _count(found["n"].lower())
    groups = found.groupdict()
    back = bool(groups.get("ago") and groups["ago"].lower() in ("ago", "earlier", "前", "以前", "之前"))
    n = -n if back else n
    unit = found["unit"].lower().rstrip("s").lstrip("个")
    if unit in ("day", "天"):
        return today + timedelta(n)
    if unit in ("working day", "business day", "工作日"):
        return _working(today, n)
    if unit in ("week", "周", "星期", "礼拜"):
        return today + timedelta(7 * n)
    return _months(today, n * (12 if unit in ("year", "年") else 1), today.day)


def _weekday(found: re.Match[str], today: date) -> date:
    weekday, which = DAYS[found["weekday"].lower()], (found["which"] or "").lower()
    monday = today - timedelta(today.weekday())
    if which == "next":
        return monday + timedelta(7 + weekday)
    if which in ("last", "previous"):
        return today - timedelta((today.weekday() - weekday - 1) % 7 + 1)
    return today + timedelta((weekday - today.weekday()) % 7)


def _han_weekday(found: re.Match[str], today: date) -> date:
    weekday = WEEKDAYS[found["weekday"]]
    if not found["which"]:
        return today + timedelta((weekday - today.weekday()) % 7)
    return today - timedelta(today.weekday()) + timedelta(7 * AWAY[found["which"]] + weekday)


def _period(found: re.Match[str], today: date) -> date:
    which = AWAY[found["which"].lower()]
    unit = found["unit"].lower()
    if unit in ("week", "周", "星期", "礼拜"):
        return today - timedelta(today.weekday()) + timedelta(7 * which)
    if unit in ("weekend", "周末"):
        return today - timedelta(today.weekday()) + timedelta(7 * which + 5)
    return date(today.year + which, 1, 1) if unit == "year" else _months(today, which, 1)


def _end(found: re.Match[str], today: date) -> date:
    if found["unit"] == "year":
        return date(today.year + AWAY[(found["which"] or "this").lower()], 12, 31)
    which = AWAY[(found["which"] or "this").lower()]
    return _months(today, which, 31)


def _han_end(found: re.Match[str], today: date) -> date:
    said = found["year"]
    return date(int(said[:4]) if said[0].isdigit() else today.year + YEARS.get(said, 0), 12, 31)


def _short(found: re.Match[str], today: date) -> date:
    day, month = int(found["day"]), int(found["month"])
    return _nearest(day, month, today) if month > 12 else _nearest(month, day, today)


def _working(today: date, days: int) -> date:
    """So many days away from Monday to Friday; bank holidays are not known here."""
    step = 1 if days > 0 else -1
    while days:
        today += timedelta(step)
        days -= step if today.weekday() < 5 else 0
    return today


def _count(said: str) -> int:
    if said in ("a", "an"):
        return 1
    return int(said) if said.isdigit() else int(english(said) or 0) if said.isascii() else _int(said)


def _int(text: str) -> int:
    value = chinese(text)
    if value is None:
        raise ValueError(text)
    return int(value)


def _months(today: date, months: int, day: int) -> date:
    """A day some months away; the last of the month where it is shorter. Raises `ValueError` for a day 32."""
    if day > 31:
        raise ValueError(day)
    year, month = divmod(today.year * 12 + today.month - 1 + months, 12)
    return date(year, month + 1, min(day, monthrange(year, month + 1)[1]))


def _latest(month: int, today: date) -> date:
    return date(today.year - (month > today.month), month, 1)


def _nearest(month: int, day: int, today: date) -> date:
    """The day of this, the last or the next year that is nearest to today; 29 February where there is one."""
    found = []
    for year in range(max(1, today.year - 4), min(9999, today.year + 4) + 1):
        try:
            found.append(date(year, month, day))
        except ValueError:
            continue
    return min(found, key=lambda one: (abs((one - today).days), one < today))


def _nearest_day(day: int, today: date) -> date:
    found = []
    for months in range(-2, 3):
        year, month = divmod(today.year * 12 + today.month - 1 + months, 12)
        if 1 <= day <= monthrange(year, month + 1)[1]:
            found.append(date(year, month + 1, day))
    return min(found, key=lambda one: (abs((one - today).days), one < today))


def _rule(
    pattern: str, read: Callable[[re.Match[str], date], date | None]
) -> tuple[re.Pattern[str], Callable[[re.Match[str], date], date | None]]:
    return re.compile(pattern, re.IGNORECASE | re.ASCII), read


RULES = (
    _rule(
        r"(?<![\d.-])(?P<year>(?:19|20)\d\d)(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})(?![\d]|-\d)",
        _iso,
    ),
    _rule(
        r"(?<![\d./-])(?P<day>\d{1,2})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<year>(?:19|20)\d\d|\d\d)(?![\d])",
        _european,
    ),
    _rule(rf"\b(?:the )?{_DAY}(?: of)? {_MONTH}(?:,? (?P<year>(?:19|20)\d\d)\b)?", _named),
    _rule(rf"\b{_MONTH} (?:the )?{_DAY}(?:,? (?P<year>(?:19|20)\d\d)\b)?", _named),
    _rule(rf"\b(?:in|of|since|for|from|until|by) {_MONTH}(?: (?P<year>(?:19|20)\d\d)\b)?(?! \d)", _month),
    _rule(
        rf"(?P<year>(?:(?:19|20)\d\d|\d\d|[一二三四五六七八九〇零]{{2,4}})年|{'|'.join(YEARS)})?{_HAN_MONTH}(?:{_HAN_DAY})?",
        _han,
    ),
    _rule(rf"(?P<which>下下|上上|上|下|本|这)个?月{_HAN_DAY}", _han_day),
    _rule(rf"(?P<which>)(?<![\d一二三四五六七八九十月]){_HAN_DAY}", _han_day),
    _rule(
        r"\b(?:on|by|until|from|since) the (?P<day>[12]\d|3[01]|[1-9])(?:st|nd|rd|th)\b(?! (?:of )?[A-Z])", _english_day
    ),
    _rule("|".join(rf"\b{word}\b" if word.isascii() else word for word in sorted(SAID, key=len, reverse=True)), _said),
    _rule(rf"\bin {_N} (?P<unit>(?:(?:working|business) )?days?|weeks?|months?|years?)(?:' time)?\b", _ago),
    _rule(rf"\b{_N} (?P<unit>days?|weeks?|months?|years?) (?P<ago>ago|earlier|from now|later)\b", _ago),
    _rule(rf"{_N}(?P<unit>天|周|星期|个星期|礼拜|个礼拜|个月|年|个工作日)(?P<ago>以前|之前|前|以后|之后|后)", _ago),
    _rule(rf"\b{_WHICH} (?P<weekday>{_WEEKDAY})\b", _weekday),
    _rule(rf"(?P<which>)\b(?P<weekday>{'|'.join(day for day in DAYS if day.endswith('day'))})\b", _weekday),
    _rule(
        r"(?P<which>下下|上上|上|下|本|这)?个?(?:周|星期|礼拜)(?P<weekday>[一二三四五六日天1-6])(?![一二三四五六七八九十\d]?[周个次])",
        _han_weekday,
    ),
    _rule(r"\b(?P<which>next|last|previous|this) (?P<unit>week(?:end)?|month|year)\b", _period),
    _rule(r"(?P<which>下下|上上|上|下|本|这)个?(?P<unit>周末?|星期|礼拜|月)(?![一二三四五六日天底末\d])", _period),
    _rule(r"\b(?:the )?end of (?:the|(?P<which>this|next|last)) (?P<unit>month|year)\b", _end),
    _rule(r"(?:(?P<which>下|上|本|这)个?)?(?P<unit>月[底末])", _end),
    _rule(rf"(?P<year>(?:19|20)\d\d年|{'|'.join(YEARS)}|年)[底末]", _han_end),
    _rule(r"\b(?:on|by|since|until|from) (?P<day>\d{1,2})/(?P<month>\d{1,2})(?![\d/])", _short),
)
"""How dates are said, and how each is read."""
