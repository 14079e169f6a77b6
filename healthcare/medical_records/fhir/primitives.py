"""The primitive types of FHIR R4 (hl7.org/fhir/R4/datatypes.html): what each expects, and whether a value is one."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from datetime import date
from html.entities import html5
from typing import Any
from xml.etree import ElementTree

from healthcare.medical_records.fhir.lossless import Number

MOST_CHARACTERS = 2**20
"""Of a string, says FHIR; base64Binary has no limit."""
_ZONE = r"(Z|[+-]((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?"
_DAY = r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
_PARTIAL = r"(?P<month>[0-9]{4}(-(0[1-9]|1[0-2]))?)"
_ACTIVE = re.compile(r"<\s*(script|iframe|object|embed|form|input|link|base)\b|\son\w+\s*=|javascript:", re.IGNORECASE)
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)(\w+;)")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def fault(kind: str, value: Any) -> str:
    """What a primitive of this type has to be, if `value` is not one; empty if it is."""
    expected, right = _RULES[kind]
    return "" if right(value) else expected


def calendar_day(text: str) -> bool:
    """Whether the day of a date or dateTime exists; a year or month alone always does."""
    try:
        return len(text) < 10 or bool(date.fromisoformat(text[:10]))
    except ValueError:
        return False


def _like(pattern: str) -> Callable[[Any], bool]:
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _dated(pattern: str) -> Callable[[Any], bool]:
    like = _like(pattern)
    return lambda value: like(value) and value[:4] != "0000" and calendar_day(value)


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**31


def _decimal(value: Any) -> bool:
    return isinstance(value, int | Number) and not isinstance(value, bool)


def _text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MOST_CHARACTERS and value != "" and not _CONTROL.search(value)


def _base64(value: Any) -> bool:
    try:
        return (
            isinstance(value, str)
            and bool(value)
            and bool(binascii.a2b_base64("".join(value.split()), strict_mode=True))
        )
    except (binascii.Error, ValueError):
        return False


def _narrative(value: Any) -> bool:
    """A well-formed div without active content. A document type is refused before any parser sees it."""
    if not isinstance(value, str) or not value.strip().startswith("<div") or "<!DOCTYPE" in value:
        return False
    known = _ENTITY.sub(lambda found: html5.get(found[1], found[0]), value)
    try:
        root = ElementTree.fromstring(known)
    except ElementTree.ParseError:
        return False
    return root.tag == "{http://www.w3.org/1999/xhtml}div" and not _ACTIVE.search(value)


_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "boolean": ("true or false, without quotes", lambda value: isinstance(value, bool)),
    "integer": ("a whole number of 32 bits, without quotes", _whole(-(2**31))),
    "unsignedInt": ("a whole number from 0, without quotes", _whole(0)),
    "positiveInt": ("a whole number from 1, without quotes", _whole(1)),
    "decimal": ("a number, without quotes", _decimal),
    "string": (f"text of 1 to {MOST_CHARACTERS:,} characters, without control characters", _text),
    "markdown": (f"Markdown of 1 to {MOST_CHARACTERS:,} characters", _text),
    "code": ("a code: text without spaces at its ends or two in a row", _like(r"[^\s]+(\s[^\s]+)*")),
    "id": ("an id of 1 to 64 letters, digits, - and .", _like(r"[A-Za-z0-9\-.]{1,64}")),
    "uri": ("a URI without spaces", _like(r"\S+")),
    "url": ("a URL without spaces", _like(r"\S+")),
    "canonical": ("a canonical URL without spaces", _like(r"\S+")),
    "oid": ("urn:oid: and numbers with points", _like(r"urn:oid:[0-2](\.(0|[1-9][0-9]*))+")),
    "uuid": (
        "urn:uuid: and a UUID in small letters",
        _like(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    ),
    "date": ("a date that exists: YYYY, YYYY-MM or YYYY-MM-DD", _dated(f"{_DAY}|{_PARTIAL}")),
    "dateTime": (
        "a date that exists: YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with a time zone such as Z or +08:00",
        _dated(f"{_DAY}(T{_TIME}{_ZONE})?|{_PARTIAL}"),
    ),
    "instant": ("YYYY-MM-DDThh:mm:ss with a time zone such as Z or +08:00", _dated(f"{_DAY}T{_TIME}{_ZONE}")),
    "time": ("hh:mm:ss", _like(_TIME)),
    "base64Binary": ("base64", _base64),
    "xhtml": ('a well-formed <div xmlns="http://www.w3.org/1999/xhtml"> without scripts or forms', _narrative),
}
