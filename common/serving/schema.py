"""Words for the fields of a JSON schema, so that an error can say what was expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
}
MOST_CHOICES = 20


def find_field(schema: Schema, location: Sequence[str | int]) -> Schema:
    """The part of `schema` that describes the field at `location`; empty when it has none."""
    part = resolve(schema, schema)
    for step in location:
        part = part.get("items", {}) if isinstance(step, int) else part.get("properties", {}).get(step, {})
        part = resolve(part, schema)
    return part


def known_fields(schema: Schema, location: Sequence[str | int] = ()) -> list[str]:
    """Names of the fields of the object at `location`."""
    return list(find_field(schema, location).get("properties", ()))


def describe(part: Schema, schema: Schema) -> str:
    """One field in words, for example `a whole number from 18 to 75`; empty when it cannot be said so."""
    part = resolve(part, schema)
    if "const" in part:
        return repr(part["const"])
    if "enum" in part:
        choices = [str(choice) for choice in part["enum"]]
        more = f" … ({len(choices)} in all)" if len(choices) > MOST_CHOICES else ""
        return f"one of {', '.join(choices[:MOST_CHOICES])}{more}"
    kind = KINDS.get(str(part.get("type")), "")
    if not kind:
        return " or ".join(dict.fromkeys(filter(None, (describe(p, schema) for p in part.get("anyOf", ())))))
    if "pattern" in part:
        kind += f" like {part['pattern']}"
    if "format" in part:
        kind += f" ({part['format']})"
    return kind + _range(part)


def _range(part: Schema) -> str:
    low, high = part.get("minimum"), part.get("maximum")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    bounds = {
        "minimum": "at least {:g}",
        "exclusiveMinimum": "above {:g}",
        "maximum": "at most {:g}",
        "exclusiveMaximum": "below {:g}",
        "minLength": "at least {:g} characters",
        "maxLength": "at most {:g} characters",
        "minItems": "at least {:g} items",
        "maxItems": "at most {:g} items",
    }
    texts = [text.format(part[name]) for name, text in bounds.items() if part.get(name) is not None]
    return f", {' and '.join(texts)}" if texts else ""


def resolve(part: Schema, schema: Schema) -> Schema:
    """Follow `$ref`, and step through `X or null` to X; what stands beside them, such as a media type, is kept."""
    while True:
        if "$ref" in part:
            step, inner = "$ref", schema.get("$defs", {}).get(part["$ref"].rpartition("/")[2], {})
        elif len(choices := [p for p in part.get("anyOf", ()) if p.get("type") != "null"]) == 1:
            step, inner = "anyOf", choices[0]
        elif len(part.get("allOf", ())) == 1:
            step, inner = "allOf", part["allOf"][0]
        else:
            return part
        part = {key: value for key, value in part.items() if key != step} | inner
