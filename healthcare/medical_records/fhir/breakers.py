"""Breaks a sound resource in one known way and place, to measure whether the fault is explained."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from healthcare.medical_records.fhir import structure
from healthcare.medical_records.fhir.lossless import dump
from healthcare.medical_records.fhir.structure import PRIMITIVES, Element, Kind

Json = dict[str, Any]
MOST_TRIES = 400
"""Of places looked at before a break is held not to apply."""


_UNQUOTED = ("decimal", "integer", "positiveInt", "unsignedInt", "boolean")
_NO_DATES: dict[str, list[Any]] = {
    "date": ["2015-02-30", "30/04/2015", "2015-13-01", "2015-4-1", "yesterday"],
    "dateTime": ["2015-02-30", "2015-02-07T13:28", "2015-02-07T13:28:17", "2015-02-07 13:28:17Z", "20150207"],
    "instant": ["2015-02-07", "2015-02-07T13:28:17", "2015-02-07T25:28:17Z"],
}


@dataclass(frozen=True)
class Broken:
    """A broken document, how it was broken, and the path that an explanation has to name; empty if it is no JSON."""

    text: str
    way: str
    path: str


@dataclass(frozen=True)
class _Site:
    """A field of an object of a resource: `owner[name]` is of a `kind`, `path` leads to it."""

    owner: Json
    name: str
    type: str
    element: Element
    kind: Kind
    path: str

    @property
    def value(self) -> Any:
        return self.owner[self.name]

    @property
    def first(self) -> str:
        """The path of the value, or of the first of a list."""
        return f"{self.path}[0]" if self.element.repeats else self.path

    def put(self, value: Any) -> None:
        """Replace the value, or the first of a list."""
        if self.element.repeats:
            self.value[0] = value
        else:
            self.owner[self.name] = value


def break_each(resource: Json, seed: int) -> Iterator[Broken]:
    """The resource broken in every way that applies to it, once each, at a place drawn with `seed`."""
    for way, break_ in WAYS.items():
        copy = deepcopy(resource)
        sites = list(_sites(copy, str(copy["resourceType"]), str(copy["resourceType"])))
        draw = random.Random(f"{seed} {way}")
        for site in draw.sample(sites, min(len(sites), MOST_TRIES)):
            if path := break_(site, draw):
                yield Broken(dump(copy), way, path)
                break
    text = dump(resource, 1)
    draw = random.Random(seed)
    yield Broken(text[: draw.randrange(1, len(text) - 1)], "cut off", "")
    yield Broken(text[:-1] + ",}", "a comma too many", "")
    yield Broken(text.replace('"', "'"), "single quotes", "")
    yield Broken(text.replace('"resourceType"', '"resourceType": "Basic", "resourceType"', 1), "a name twice", "")


def _sites(value: Json, kind: str, path: str) -> Iterator[_Site]:
    known = structure.fields(kind)
    for name, part in value.items():
        if name not in known:
            continue
        element, its = known[name]
        yield _Site(value, name, kind, element, its, f"{path}.{name}")
        for at, each in enumerate(part if isinstance(part, list) else [part]):
            if isinstance(each, dict):
                inner = str(each.get("resourceType")) if its.name == "Resource" else its.name
                yield from _sites(each, inner, f"{path}.{name}[{at}]" if element.repeats else f"{path}.{name}")


def _wrong_type(site: _Site, draw: random.Random) -> str:
    text = site.kind.name in PRIMITIVES and isinstance(site.value[0] if site.element.repeats else site.value, str)
    if site.kind.name == "Resource":
        return ""
    site.put(draw.choice([12, True, {"text": "12"}]) if text else "twelve")
    return site.first


def _missing(site: _Site, draw: random.Random) -> str:
    if not site.element.least or f"_{site.name}" in site.owner:
        return ""
    del site.owner[site.name]
    return site.path.removesuffix(site.name) + site.element.name


def _unknown_field(site: _Site, draw: random.Random) -> str:
    name = draw.choice([site.name + "s", "colour", site.name.upper(), f"x_{site.name}"])
    site.owner[name] = site.owner.pop(site.name)
    return site.path.removesuffix(site.name) + name


def _value(bad: dict[str, list[Any]]) -> Callable[[_Site, random.Random], str]:
    """A break that puts one of the values in place of a primitive of that type."""

    def put(site: _Site, draw: random.Random) -> str:
        if site.kind.name not in bad:
            return ""
        site.put(draw.choice(bad[site.kind.name]))
        return site.first

    return put


def _bad_code(site: _Site, draw: random.Random) -> str:
    if site.element.codes and site.kind.name == "code":
        site.put(draw.choice(["perhaps", "ACTIVE!", "n/a"]))
        return site.first
    if site.element.codes and site.kind.name == "CodeableConcept":
        site.put({"coding": [{"system": "http://example.org/codes", "code": "perhaps"}]})
        return site.first
    return ""


def _bad_reference(site: _Site, draw: random.Random) -> str:
    if site.type != "Reference" or site.name != "reference":
        return ""
    site.put(draw.choice(["#nowhere", "the patient", "Patiant/1", "urn:uuid:00000000-0000-4000-8000-000000000000", ""]))
    return site.path


def _wrong_target(site: _Site, draw: random.Random) -> str:
    if site.kind.name != "Reference" or not site.kind.targets or "Resource" in site.kind.targets:
        return ""
    site.put({"reference": f"{draw.choice(sorted(structure.resource_types() - site.kind.targets))}/1"})
    return f"{site.first}.reference"


def _two_choices(site: _Site, draw: random.Random) -> str:
    if not site.element.name.endswith("[x]"):
        return ""
    other = draw.choice([kind for kind in site.element.kinds if kind.name != site.kind.name])
    samples: Json = {"boolean": True, "integer": 3, "decimal": 3, "unsignedInt": 3, "positiveInt": 3}
    sample = samples.get(other.name, "2015-02-07" if other.name in PRIMITIVES else {"id": "x"})
    site.owner[site.element.field(other)] = sample
    return site.path.removesuffix(site.name) + site.element.field(other)


def _wrong_cardinality(site: _Site, draw: random.Random) -> str:
    site.owner[site.name] = site.value[0] if site.element.repeats else [site.value, site.value]
    return site.path


def _empty(site: _Site, draw: random.Random) -> str:
    site.owner[site.name] = draw.choice([None, [], {}, ""])
    return site.path


def _bad_type(site: _Site, draw: random.Random) -> str:
    if site.kind.name != "Resource":
        return ""
    part = site.value[0] if site.element.repeats else site.value
    part["resourceType"] = draw.choice(["Patiant", "patient", "Element", 5])
    return f"{site.first}.resourceType"


def _backwards(site: _Site, draw: random.Random) -> str:
    if site.kind.name != "Period":
        return ""
    site.put({"start": "2015-03-01", "end": "2014-03-01"})
    return site.first


WAYS: dict[str, Callable[[_Site, random.Random], str]] = {
    "wrong type": _wrong_type,
    "missing required": _missing,
    "unknown field": _unknown_field,
    "bad code": _bad_code,
    "bad date": _value(_NO_DATES),
    "bad reference": _bad_reference,
    "wrong target": _wrong_target,
    "two of a choice": _two_choices,
    "wrong cardinality": _wrong_cardinality,
    "empty": _empty,
    "bad id": _value({"id": ["two words", "x" * 65, "a_b", "ä"]}),
    "quoted number": _value({kind: ["1.50", "true", "3"] for kind in _UNQUOTED}),
    "bad resource type": _bad_type,
    "bad narrative": _value(
        {"xhtml": ['<div xmlns="http://www.w3.org/1999/xhtml"><script>a()</script></div>', "<div>", "text"]}
    ),
    "period backwards": _backwards,
}
"""Each changes the resource of a site and says which path is wrong then; an empty path if it does not apply there."""
