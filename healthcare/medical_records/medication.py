"""Medication lines read into their parts: dose, form, route, frequency, duration, as needed, stopped.

"metformin 500 mg PO BID x 10 days", "阿司匹林 100mg 口服 每日一次". The parts are looked for behind the drug's name,
up to the next drug, the end of the line or of the sentence; each carries its place. What is not written is None. The
words are data, `medication.toml`; frequencies are those of FHIR `Timing.repeat`, units UCUM.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from healthcare.medical_records.labs import number
from healthcare.medical_records.spans import Span

REACH, APART = 160, 24
"""Characters that a sig may run on for, and that may lie between two of its parts."""
_N = r"\d{1,3}(?:,\d{3})+|\d{1,6}(?:[.,]\d{1,4})?|\.\d{1,3}"
_COUNTS = {
    "one": 1.0,
    "two": 2.0,
    "three": 3.0,
    "half": 0.5,
    "a": 1.0,
    "半": 0.5,
    "一": 1.0,
    "两": 2.0,
    "二": 2.0,
    "三": 3.0,
    "四": 4.0,
}
_LIMIT = re.compile(r"[;；。\n•]|\.(?=\s+[A-Z]|\s*$)")


@dataclass(frozen=True)
class Quantity:
    """A dose or a count; `unit` is UCUM, or the word as written for tablets and the like; `high` ends a range."""

    span: Span
    value: float
    unit: str
    high: float | None = None


@dataclass(frozen=True)
class Frequency:
    """`times` in each `period` of `unit` (h, d, wk, mo, or once); `when` is morning or evening where written."""

    span: Span
    times: float
    period: float
    unit: str
    longest: float | None = None
    when: str = ""


@dataclass(frozen=True)
class Medication:
    """One drug with what is written about taking it; `start` to `end` hold everything, the drug's name included."""

    drug: Span
    start: int
    end: int
    text: str
    dose: Quantity | None = None
    amount: Quantity | None = None
    route: str | None = None
    route_span: Span | None = None
    frequency: Frequency | None = None
    duration: Quantity | None = None
    as_needed: bool = False
    stopped: bool = False


def medications(note: str, drugs: Sequence[tuple[int, int]]) -> list[Medication]:
    """The medication of each drug at these places (start, end), in the order of the note."""
    places = sorted(drugs)
    ends = [*(start for start, _ in places[1:]), len(note)]
    return [_medication(note, start, end, limit) for (start, end), limit in zip(places, ends, strict=False)]


def named_by_dose(note: str) -> list[tuple[int, int]]:
    """Places of words that a dose and then a route or a frequency follow: drugs that no dictionary has to know."""
    found = []
    for match in _unknown().finditer(note):
        if _parts(note, match.end("name"), _limit(note, match.end("name"), len(note))).keys() & {"route", "frequency"}:
            found.append(match.span("name"))
    return found


def _medication(note: str, start: int, end: int, limit: int) -> Medication:
    parts = _parts(note, end, _limit(note, end, limit))
    last = max((match.end() for match in parts.values()), default=end)
    ahead = _ahead().search(note, max(0, start - 24), start)
    first = ahead.start() if ahead and "dose" not in parts else start
    dose = parts.get("dose") or (ahead if first < start else None)
    route, often = parts.get("route"), parts.get("frequency")
    return Medication(
        drug=Span.of(note, start, end),
        start=first,
        end=last,
        text=note[first:last],
        dose=_quantity(note, dose, "dose", _words("unit")) if dose else None,
        amount=_quantity(note, parts["amount"], "amount", {}) if "amount" in parts else None,
        route=_words("route")[route["route"].lower()] if route else None,
        route_span=Span.of(note, *route.span("route")) if route else None,
        frequency=_frequency(note, often) if often else None,
        duration=_quantity(note, parts["duration"], "duration", _words("period")) if "duration" in parts else None,
        as_needed="prn" in parts,
        stopped=bool(
            _stopped()[0].search(note, max(0, start - 20), start) or _stopped()[1].match(note, last, last + 24)
        ),
    )


def _limit(note: str, end: int, limit: int) -> int:
    """Where what is said of a drug whose name ends at `end` ends at the latest."""
    limit = min(limit, end + REACH)
    stop = _LIMIT.search(note, end, limit)
    return stop.start() if stop else limit


def _parts(note: str, at: int, limit: int) -> dict[str, re.Match[str]]:
    """The first match of each part, while no more than `APART` characters lie between two."""
    parts: dict[str, re.Match[str]] = {}
    for match in _sig().finditer(note, at, limit):
        if match.start() - at > APART:
            break
        kind = next(name for name in ("duration", "frequency", "dose", "amount", "route", "prn") if match[name])
        if kind == "dose" and "dose" in parts and "amount" not in parts and "frequency" not in parts:
            kind = "second"
        parts.setdefault(kind, match)
        at = match.end()
    parts.pop("second", None)
    return parts


def _quantity(note: str, match: re.Match[str], kind: str, units: dict[str, str]) -> Quantity:
    low, high, unit = match[f"{kind}_n"], match[f"{kind}_to"], match[f"{kind}_unit"]
    value = _COUNTS.get(low.lower()) or number(low)
    written = unit.lower()
    by = match[f"{kind}_by"] or "" if kind == "dose" else ""
    return Quantity(
        Span.of(note, *match.span(kind)), value, units.get(written, written) + by, number(high) if high else None
    )


def _frequency(note: str, match: re.Match[str]) -> Frequency:
    span = Span.of(note, *match.span("frequency"))
    if match["every"]:
        longest = number(match["every_to"]) if match["every_to"] else None
        return Frequency(span, 1, number(match["every"]), _words("period")[match["every_unit"].lower()], longest)
    if match["times"]:
        return Frequency(
            span,
            _COUNTS.get(match["times"].lower()) or number(match["times"]),
            1,
            _words("period")[match["times_unit"].lower()],
        )
    times, period, unit, *when = _words("frequency")[match["frequency"].lower()].split()
    return Frequency(span, float(times), float(period), unit, when=when[0] if when else "")


@cache
def _sig() -> re.Pattern[str]:
    words = "|".join(word for word in _COUNTS if word != "a")
    units, periods = _alternatives(_words("unit")), _alternatives(_words("period"))
    return re.compile(
        rf"""(?P<duration>(?:[x×]|for|连用|连服|疗程|共|用药)\s?(?P<duration_n>{_N}|{words})(?:\s?-\s?(?P<duration_to>{_N}))?\s?-?(?P<duration_unit>{periods}))
        |(?P<frequency>(?:q\.?\s?|every\s|每)(?P<every>{_N})(?:\s?-\s?(?P<every_to>{_N}))?\s?(?P<every_unit>{periods})(?:一次|1次)?
          |(?P<times>{_N}|{words})\s?(?:times|x|次)\s?(?:a|per|/|every|each)\s?(?P<times_unit>{periods})
          |{_alternatives(_words("frequency"))})
        |(?P<dose>(?P<dose_n>{_N})(?:\s?[-–~]\s?(?P<dose_to>{_N}))?\s?(?P<dose_unit>{units})(?P<dose_by>/kg(?:/(?:min|h|d|day))?|/h|/hr|/min|/ml|/d)?(?!/[A-Za-z]))
        |(?P<amount>(?P<amount_n>{_N}|{words}|a)(?:\s?[-–~]\s?(?P<amount_to>{_N}))?\s?(?P<amount_unit>{_alternatives(_table()["form"]["words"])}))
        |(?P<route>{_alternatives(_words("route"))})|(?P<prn>{_alternatives(_table()["as_needed"]["words"])})""",
        re.IGNORECASE | re.VERBOSE,
    )


@cache
def _unknown() -> re.Pattern[str]:
    """A word, or two of them, or Chinese characters, before a dose."""
    verbs = (
        r"(?!(?:tak(?:es|en|ing)|gave|given|start(?:ed|ing)?|continued?|received|prescribed|increased?|with|dose)\b)"
    )
    english = rf"(?<![A-Za-z\u4e00-\u9fff]){verbs}[A-Za-z][A-Za-z-]{{3,29}}(?:[ ][A-Za-z-]{{4,20}})?"
    word = rf"(?:{english}|(?<![\u4e00-\u9fff])[\u4e00-\u9fff]{{2,12}})"
    return re.compile(
        rf"(?P<name>{word})\s?(?:{_N})\s?(?:{_alternatives(_words('unit').keys() - {'%'})})(?!\s?/)", re.IGNORECASE
    )


@cache
def _ahead() -> re.Pattern[str]:
    """A dose before the name: "500 mg of metformin"."""
    by, to = r"(?P<dose_by>/kg)?", r"(?P<dose_to>(?!))?"
    return re.compile(
        rf"(?P<dose>(?P<dose_n>{_N}){to}\s?(?P<dose_unit>{_alternatives(_words('unit'))}){by})\s+(?:of\s+)?\Z",
        re.IGNORECASE,
    )


@cache
def _stopped() -> tuple[re.Pattern[str], re.Pattern[str]]:
    before, after = (_alternatives(_table()["stopped"][side]) for side in ("before", "after"))
    return (
        re.compile(rf"(?:{before})\s?(?:taking|the|his|her|using|of)?\s?\Z", re.IGNORECASE),
        re.compile(rf"\s?[,，(（:-]?\s?(?:{after})", re.IGNORECASE),
    )


def _alternatives(words: Any) -> str:
    """The words, the longest first, each a whole one. Blanks may be any."""
    parts = []
    for word in sorted(words, key=len, reverse=True):
        left = "(?<![A-Za-z])" if word[0].isascii() and word[0].isalpha() and len(word) > 2 else ""
        right = "(?![A-Za-z])" if word[-1].isascii() and word[-1].isalnum() else ""
        parts.append(left + re.escape(word).replace(r"\ ", r"\s") + right)
    return "(?:" + "|".join(parts) + ")"


@cache
def _words(table: str) -> dict[str, str]:
    return {word: name for name, words in _table()[table].items() for word in words}


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("medication.toml").read_text(encoding="utf-8"))
