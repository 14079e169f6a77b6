"""From the JSON Schema of a request to the fields of a form, and from what was filled in back to a request."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from common.serving.schema import Schema, find_field

Kind = Literal["choice", "yes_no", "number", "slider", "text", "image", "audio", "file", "json"]
MEDIA: tuple[Kind, ...] = ("image", "audio", "file")
LONG_TEXT = 200
SLIDER_STEPS = 20
"""A whole number of so few values is chosen faster than typed."""


@dataclass(frozen=True)
class FormField:
    """One field: how it is asked for, and what may be left out."""

    name: str
    label: str
    kind: Kind
    required: bool = True
    nullable: bool = False
    default: Any = None
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    integer: bool = False
    long: bool = False
    media: str = ""

    @property
    def bounds(self) -> str:
        """The range in signs that every language reads; what a float cannot hold exactly is no bound to a person."""
        low = None if self.low is None or abs(self.low) >= 2**53 else self.low
        high = None if self.high is None or abs(self.high) >= 2**53 else self.high
        if low is not None and high is not None:
            return f"{low:g} – {high:g}"
        return f"≥ {low:g}" if low is not None else f"≤ {high:g}" if high is not None else ""


def fields_of(schema: Schema) -> list[FormField]:
    """The form of an object's schema, in the order of its properties."""
    required = set(schema.get("required", ()))
    return [_field(name, outer, schema, name in required) for name, outer in schema.get("properties", {}).items()]


def _field(name: str, outer: Schema, schema: Schema, required: bool) -> FormField:
    part = find_field(schema, (name,))
    nullable = any(choice.get("type") == "null" for choice in outer.get("anyOf", ()))
    label = outer.get("description") or part.get("description") or name.replace("_", " ")
    low, high = part.get("minimum", part.get("exclusiveMinimum")), part.get("maximum", part.get("exclusiveMaximum"))
    kind = _kind(part, low, high, plain=not nullable and (required or outer.get("default") is not None))
    return FormField(
        name,
        label,
        kind,
        required,
        nullable,
        outer.get("default"),
        tuple(part.get("enum", [part["const"]] if "const" in part else [])),
        low,
        high,
        part.get("type") == "integer",
        kind == "text" and part.get("maxLength", LONG_TEXT + 1) > LONG_TEXT,
        part.get("contentMediaType", ""),
    )


def _kind(part: Schema, low: float | None, high: float | None, *, plain: bool) -> Kind:
    """`plain`: always has a value, so a slider, which cannot be empty, is possible."""
    if "enum" in part or "const" in part:
        return "choice"
    match part.get("type"):
        case "boolean":
            return "yes_no"
        case "integer" if plain and low is not None and high is not None and high - low <= SLIDER_STEPS:
            return "slider"
        case "number" if plain and (low, high) == (0, 1):
            return "slider"
        case "integer" | "number":
            return "number"
        case "string" if part.get("contentEncoding") == "base64":
            group = part.get("contentMediaType", "").partition("/")[0]
            return next((kind for kind in MEDIA if kind == group), "file")
        case "string":
            return "text"
    return "json"


def to_request(
    fields: Sequence[FormField], values: Sequence[Any], read: Callable[[FormField, Any], bytes]
) -> dict[str, Any]:
    """The request as filled in; nothing is judged here, the service says what is wrong with it.

    What is empty is null where that is allowed, and left out elsewhere. `read` gives the bytes of an upload.
    """
    request: dict[str, Any] = {}
    for field, value in zip(fields, values, strict=True):
        if value is None or (value == "" and not (field.kind == "text" and field.required and not field.nullable)):
            if field.nullable:
                request[field.name] = None
            continue
        request[field.name] = _plain(field, value, read)
    return request


def _plain(field: FormField, value: Any, read: Callable[[FormField, Any], bytes]) -> Any:
    if field.kind in MEDIA:
        return b64encode(read(field, value)).decode()
    if field.kind == "json" or (field.kind == "number" and isinstance(value, str)):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):  # the service tells what it wants instead of this text
            return value
    if field.integer and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def to_form(fields: Sequence[FormField], request: Mapping[str, Any]) -> list[Any]:
    """The values that show a request in the form; uploads are left to the person."""
    shown = []
    for field in fields:
        value = request.get(field.name, field.default)
        if field.kind in MEDIA:
            value = None
        elif field.kind == "json":
            value = "" if value is None else json.dumps(value, ensure_ascii=False, indent=1)
        elif value is None and (field.kind in ("text", "number") or not field.required):
            value = ""
        shown.append(value)
    return shown
