"""JSON in and out without loss: digits of numbers, order of fields, and nothing that JSON or FHIR forbids.

Python's own `json` would turn 1.50 into 1.5, take the second of two equal names and accept NaN. Here a number with a
point or an exponent keeps its token, and what cannot be kept is refused with its place.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from common.errors import InvalidRequest, RequestTooLarge
from healthcare.medical_records.fhir.problem import MOST_SHOWN

MOST_BYTES = 16 * 2**20
"""Of one document; the lines of an NDJSON file are documents of their own."""
MOST_DEPTH = 100
"""Objects and lists within each other; the deepest official example has 11."""
DOCUMENT = "the document"
"""Where a fault is if nobody has said whose content it is."""
_string = json.JSONEncoder(ensure_ascii=False).encode


class Number(Decimal):
    """A decimal that remembers how it was written: `1.50` stays `1.50`, `1e2` stays `1e2`."""

    __slots__ = ("token",)
    token: str

    def __new__(cls, token: str) -> Number:
        """The number that this JSON token says; raises `ValueError` if no decimal can hold it."""
        try:
            number = super().__new__(cls, token)
        except InvalidOperation:
            raise ValueError(f"the number {token[:MOST_SHOWN]} is out of range") from None
        number.token = token
        return number


class _Doubled(dict[str, Any]):
    """An object in which a name stands twice."""

    name = ""


def parse(content: bytes | str, where: str = DOCUMENT, most: int = MOST_BYTES) -> Any:
    """The JSON value in `content`: objects as dicts, numbers as `int` or `Number`.

    Raises `RequestTooLarge` over `most` bytes, and `InvalidRequest` naming line and column or the path: not UTF-8, not
    JSON, a name twice in one object, NaN or Infinity, half a surrogate pair, nested deeper than `MOST_DEPTH`.
    """
    if len(content) > most:
        got, fix = f"{len(content):,} bytes", "split it, or send NDJSON"
        raise RequestTooLarge("too large", where=where, got=got, expected=f"at most {most:,}", fix=fix)
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        value = json.loads(text, parse_float=Number, parse_int=_whole, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        got = f"byte 0x{error.object[error.start]:02x} at position {error.start}"
        raise InvalidRequest("not UTF-8", where=where, got=got, expected="JSON in UTF-8") from None
    except json.JSONDecodeError as error:
        place = f"{where}, line {error.lineno}, column {error.colno}"
        got = f"{error.msg[0].lower()}{error.msg[1:]} at {_at(error)}"
        raise InvalidRequest("not JSON", where=place, got=got, expected="one JSON value") from None
    except RecursionError:
        raise _too_deep(where) from None
    except ValueError as error:
        raise InvalidRequest(str(error), where=where, expected="a decimal or whole number") from None
    kind = value.get("resourceType") if isinstance(value, dict) else None
    for path, part, depth in walk(value, kind if isinstance(kind, str) else ""):
        _refuse(path if where == DOCUMENT else f"{where}: {path}", part, depth)
    return value


def dump(value: Any, indent: int | None = None) -> str:
    """The JSON text of a parsed value, every number as it was written; `indent` spaces a level, or one line."""
    parts: list[str] = []
    _write(value, parts, indent, 0)
    return "".join(parts)


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any, int]]:
    """Every part of a value with its path and depth, in order, without recursion; `value` itself comes first."""
    stack: list[tuple[str, Any, int]] = [(path, value, 0)]
    while stack:
        path, part, depth = stack.pop()
        yield path, part, depth
        if isinstance(part, dict):
            stack += [(f"{path}.{name}" if path else name, each, depth + 1) for name, each in reversed(part.items())]
        elif isinstance(part, list):
            stack += [(f"{path}[{at}]", part[at], depth + 1) for at in range(len(part) - 1, -1, -1)]


def _whole(token: str) -> int | Number:
    return Number(token) if token == "-0" or len(token) > MOST_SHOWN else int(token)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        found = _Doubled(found)
        found.name = Counter(name for name, _ in pairs).most_common(1)[0][0]
    return found


def _at(error: json.JSONDecodeError) -> str:
    return repr(error.doc[error.pos : error.pos + 12]) if error.pos < len(error.doc) else "the end"


def _refuse(place: str, part: Any, depth: int) -> None:
    if isinstance(part, _Doubled):
        raise InvalidRequest("a name stands twice in one object", where=place, got=repr(part.name), expected="one")
    if isinstance(part, float):
        raise InvalidRequest("not a JSON number", where=place, got=str(part), expected="a finite number")
    if depth > MOST_DEPTH:
        raise _too_deep(place)
    texts = part if isinstance(part, dict) else [part] if isinstance(part, str) else ()
    for text in texts:
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise InvalidRequest("half a surrogate pair", where=place, got=ascii(text)[:MOST_SHOWN], expected="text")


def _too_deep(where: str) -> InvalidRequest:
    expected = f"objects and lists at most {MOST_DEPTH} deep"
    return InvalidRequest("nested too deep", where=where, expected=expected, fix="does it contain itself?")


def _write(value: Any, parts: list[str], indent: int | None, level: int) -> None:
    if isinstance(value, dict | list) and value:
        pairs = value.items() if isinstance(value, dict) else ((None, each) for each in value)
        gap = "" if indent is None else "\n" + " " * (indent * (level + 1))
        colon = ":" if indent is None else ": "
        before = "{" if isinstance(value, dict) else "["
        for name, each in pairs:
            parts.append(before + gap + (_string(name) + colon if name is not None else ""))
            _write(each, parts, indent, level + 1)
            before = ","
        parts.append((gap[:-indent] if indent else gap) + ("}" if isinstance(value, dict) else "]"))
    elif isinstance(value, Number):
        parts.append(value.token)
    elif isinstance(value, Decimal):
        parts.append(str(value))
    else:
        parts.append(_string(value))
