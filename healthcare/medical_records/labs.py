"""Laboratory values and vital signs in a note: test, value, unit in UCUM, reference range, flag, and LOINC where known.

Nothing is guessed. A value without a unit stays without one, a unit that the table does not know is kept as written
without a UCUM code, a range or words in place of a number give no number, and the flag is the one written, or what the
range written beside the value says. A LOINC code is given only where the unit says which of a test's codes is meant.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from healthcare.medical_records.spans import LOINC, Code, lowered

Flag = Literal["high", "low", "normal", "abnormal"]
Comparator = Literal["", "<", ">", "<=", ">="]

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,7}(?:[.,]\d{1,4})?|\.\d{1,4})"
_GAP = r"""(?:\s{0,4}(?:[:：=]|\(\s?[A-Za-z0-9+-]{1,8}\s?\)|（[A-Za-z0-9+-]{1,8}）|is|was|were|of|at|to|level|levels
  |count|remains|remained|increased|decreased|elevated|rose|fell|dropped|up|down|trended|now|today|为|约|升至|降至|计数|高达|低至)
  (?![A-Za-z])){0,4}\s{0,4}"""
_WORDS = (
    r"positive|negative|nonreactive|reactive|trace|normal|pending|undetectable|阳性|阴性|弱阳性|正常"
    r"|\([+-]{1,4}\)|（[+－＋-]{1,4}）"
)
_RANGE = rf"{_NUMBER}\s?[-–~至]\s?{_NUMBER}"
_FLAGS: dict[str, Flag] = {
    **dict.fromkeys(("h", "hh", "high", "↑", "↑↑", "高", "偏高", "升高"), "high"),
    **dict.fromkeys(("l", "ll", "low", "↓", "↓↓", "低", "偏低", "降低"), "low"),
    **dict.fromkeys(("n", "normal", "正常"), "normal"),
    **dict.fromkeys(("*", "abnormal", "异常"), "abnormal"),
}
_SIGNS: dict[str, Comparator] = {"": "", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "≤": "<=", "≥": ">="}
_FLAG = r"(?:HH|LL|H|L|N|\*|↑{1,2}|↓{1,2}|high|low|abnormal|偏高|偏低|升高|降低|正常)"
_AFTER = re.compile(
    rf"\s{{0,2}}(?:[(\[（]?\s?(?P<flag>{_FLAG})\s?[)\]）]?(?![A-Za-z]))?"
    rf"\s{{0,2}}(?:[,;]?\s?[(\[（]\s?(?:ref(?:erence)?(?: range)?|normal|nl|参考值?|正常值?)?\s?[:：]?\s?"
    rf"(?P<low>{_NUMBER})\s?[-–~至]\s?(?P<high>{_NUMBER})[^()\[\]（）\n]{{0,16}}[)\]）])?"
    rf"(?:\s{{0,2}}[(\[（]?(?P<late>{_FLAG})[)\]）]?(?![A-Za-z]))?"
)
_DEGREE = {"C": "Cel", "F": "[degF]"}
_DEGREES = re.compile(r"\s?([CF])\b")
_OTHER_UNIT = r"[A-Za-zµμ%]{1,8}/[A-Za-z0-9µμ.^]{1,10}(?<!\.)"
_DOSE = re.compile(r"\s?(?:mg|g|mcg|µg|ug|ml|meq|units?|iu|tab|片|粒|支|毫克|毫升)(?![a-z/%])", re.IGNORECASE)


@dataclass(frozen=True)
class LabValue:
    """One result: characters `start` to `end` of the note hold it whole, name to range.

    `value` is None where no single number is written; `written` is what stands in its place ("7,8", "4.0-5.1",
    "positive"). `unit` is as written, "" without one; `ucum` None where the unit is absent or unknown.
    """

    test: str
    start: int
    end: int
    text: str
    written: str
    value: float | None
    comparator: Comparator = ""
    unit: str = ""
    ucum: str | None = None
    low: float | None = None
    high: float | None = None
    flag: Flag | None = None
    codes: tuple[Code, ...] = ()


def lab_values(note: str) -> list[LabValue]:
    """All results of a note in order. A blood pressure gives two: `systolic` and `diastolic`."""
    found: list[LabValue] = []
    end = 0
    for match in _pattern().finditer(lowered(note)):
        if match.start() < end or not _meant(note, match):
            continue
        values = _pressure(note, match) if match["over"] else [_value(note, match)]
        found += values
        end = values[-1].end
    return found


def number(written: str) -> float:
    """A number as notes write it: "7,8" and "7.8" are one, "12,300" is twelve thousand."""
    grouped = re.fullmatch(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", written)
    return float(written.replace(",", "" if grouped else "."))


def ucum(unit: str) -> str | None:
    """The UCUM code of a unit as written, or None."""
    return _units().get(_plain(unit), (None, ""))[0]


def _value(note: str, match: re.Match[str]) -> LabValue:
    written, unit, end = note[slice(*match.span("value"))], _unit(note, match), match.end()
    test = _tests()[match["name"]]
    if test == "temperature" and not unit and (degrees := _DEGREES.match(note, end)):
        unit, end = degrees[1], degrees.end()
    known = _DEGREE.get(unit, unit)
    plain = re.fullmatch(_NUMBER, written)
    after = _AFTER.match(note, end)
    assert after is not None
    end = after.end() if after.group().strip() else end
    low, high = (number(after[side]) if after[side] else None for side in ("low", "high"))
    value = number(written) if plain else None
    comparator = _SIGNS[match["sign"] or ""]
    mark = (after["flag"] or after["late"] or "").lower()
    flag = _FLAGS.get(mark) or (_against(value, low, high) if not comparator else None)
    return LabValue(
        test, match.start(), end, note[match.start() : end], written, value, comparator,
        unit, ucum(known) if known else None, low, high, flag, _codes(test, known),
    )  # fmt: skip


def _pressure(note: str, match: re.Match[str]) -> list[LabValue]:
    unit, whole = _unit(note, match), note[match.start() : match.end()]
    return [
        LabValue(part, match.start(), match.end(), whole, text, float(text), unit=unit, ucum=ucum(unit), codes=codes)
        for part, text, codes in (
            ("systolic", match["value"], (Code(LOINC, "8480-6", "Systolic blood pressure"),)),
            ("diastolic", match["over"], (Code(LOINC, "8462-4", "Diastolic blood pressure"),)),
        )
    ]


def _unit(note: str, match: re.Match[str]) -> str:
    """The unit as it is written; the pattern runs over the lowered note."""
    return note[slice(*match.span("unit"))] if match["unit"] else ""


def _meant(note: str, match: re.Match[str]) -> bool:
    """Whether this is a result: not a dose, a date, or a word that looks like a short name."""
    name, before = note[slice(*match.span("name"))], note[max(0, match.start() - 1) : match.start()]
    if match["over"]:
        return _tests()[name.lower()] == "blood_pressure"
    if name.isascii() and before and before in "-/.":
        return False
    if len(name) <= 2 and name.isascii() and not name[0].isupper() and name.lower() != "ph":
        return False
    if len(name) == 1 and not (match["unit"] or "." in match["value"]):
        return False
    return match["unit"] is not None or not _DOSE.match(note, match.end("value"))


def _against(value: float | None, low: float | None, high: float | None) -> Flag | None:
    if value is None or low is None or high is None:
        return None
    return "low" if value < low else "high" if value > high else "normal"


def _codes(test: str, unit: str) -> tuple[Code, ...]:
    by_sort = _table()["tests"][test].get("loinc", {})
    code = by_sort.get(_units().get(_plain(unit), (None, ""))[1])
    return (Code(LOINC, *code),) if code else ()


def _plain(unit: str) -> str:
    kept = re.sub(r"\s+", "", unit).lower().replace("µ", "u").replace("μ", "u").replace("×", "x").replace("／", "/")
    return re.sub(r"(?<=\d)\*|\*(?=\d)|^\*", lambda found: "x" if found.start() == 0 else "^", kept)


@cache
def _pattern() -> re.Pattern[str]:
    by_first: dict[str, list[str]] = {}
    for name in sorted(_tests(), key=len, reverse=True):
        by_first.setdefault(name[0], []).append(_name(name[1:], name.isascii() and name[-1].isalpha()))
    # Grouped by first letter and without IGNORECASE, the engine turns a place down by one look: three times as fast.
    ascii_names, others = (
        "|".join(f"{first}(?:{'|'.join(rest)})" for first, rest in by_first.items() if first.isascii() is plain)
        for plain in (True, False)
    )
    spellings = sorted({*_units(), *(code.lower() for code, _ in _units().values())}, key=len, reverse=True)
    units = "|".join(_spelt(one) for one in spellings)
    edge = "(?![a-z])(?!-[a-z])"
    return re.compile(
        rf"(?P<name>(?<![a-z0-9])(?:{ascii_names})|{others}){_GAP}"
        rf"(?:(?P<sign><=|>=|[<>≤≥])\s?)?(?:(?P<value>{_RANGE}(?!\d)|{_NUMBER}|{_WORDS})(?:/(?P<over>\d{{2,3}}))?)(?!\d|[/.,]\d)"
        rf"(?:\s{{0,2}}(?P<unit>(?:{units}|{_OTHER_UNIT}){edge}))?",
        re.VERBOSE,
    )


def _name(rest: str, word: bool) -> str:
    return re.escape(rest) + ("(?![a-z])" if word else "")


def _spelt(unit: str) -> str:
    return (
        re.escape(unit)
        .replace("u", "[uµμ]")
        .replace("x", "[x×*]\\s?")
        .replace("/", "\\s?[/／]\\s?")
        .replace("\\^", "[\\^*]")
    )


@cache
def _tests() -> dict[str, str]:
    return {name: test for test, facts in _table()["tests"].items() for name in facts["names"]}


@cache
def _units() -> dict[str, tuple[str, str]]:
    """UCUM code and sort of unit by spelling."""
    sorts = _table()["units"]
    return {
        text: (code, sort)
        for sort, units in sorts.items()
        for code, texts in units.items()
        for text in (*texts, _plain(code))
    }


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("labs.toml").read_text(encoding="utf-8"))
