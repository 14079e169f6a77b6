"""The structure of FHIR R4 as the tables say it: the fields of every type, the codes of every required value set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PRIMITIVES = frozenset(
    {"base64Binary", "boolean", "canonical", "code", "date", "dateTime", "decimal", "id", "instant", "integer"}
    | {"markdown", "oid", "positiveInt", "string", "time", "unsignedInt", "uri", "url", "uuid", "xhtml"}
)
ABSTRACT = frozenset({"Resource", "DomainResource"})
_REFERENCE = re.compile(r"Reference\((.*)\)")


@dataclass(frozen=True, slots=True)
class Kind:
    """A type that an element may have; `targets` are the resource types that a Reference may lead to."""

    name: str
    targets: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a type: `most` is None where there is no limit, `codes` the value set that binds it or empty."""

    name: str
    least: int
    most: int | None
    kinds: tuple[Kind, ...]
    codes: str

    @property
    def repeats(self) -> bool:
        """Whether JSON gives a list."""
        return self.most != 1

    def field(self, kind: Kind) -> str:
        """The name that JSON gives it: `value[x]` as a Quantity is `valueQuantity`."""
        return self.name.replace("[x]", kind.name[0].upper() + kind.name[1:])


@cache
def elements(name: str) -> tuple[Element, ...]:
    """The elements of a type, what it inherits first; raises `KeyError` for a type that R4 lacks."""
    base, lines = _types()[name]
    return (elements(base) if base else ()) + tuple(_element(line) for line in lines)


@cache
def fields(name: str) -> dict[str, tuple[Element, Kind]]:
    """The names that JSON may use in a type, each with its element and the kind of its value."""
    return {element.field(kind): (element, kind) for element in elements(name) for kind in element.kinds}


@cache
def codes(value_set: str) -> dict[str, frozenset[str]]:
    """The codes of a required value set by the URI of their system."""
    return _codes()[value_set]


@cache
def resource_types() -> frozenset[str]:
    """The names of all resources that an instance can have."""
    types = _types()
    return frozenset(name for name, (base, _) in types.items() if base in ABSTRACT) - ABSTRACT


@cache
def is_domain(name: str) -> bool:
    """Whether a resource may contain others and carry a narrative."""
    return _types()[name][0] == "DomainResource"


def _blocks(name: str) -> list[tuple[str, list[str]]]:
    blocks: list[tuple[str, list[str]]] = []
    for line in Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines():
        if line.startswith("\t"):
            blocks[-1][1].append(line[1:])
        else:
            blocks.append((line, []))
    return blocks


@cache
def _types() -> dict[str, tuple[str, list[str]]]:
    heads = ((*head.partition("\t"), lines) for head, lines in _blocks("structure.tsv"))
    return {name: (base, lines) for name, _, base, lines in heads}


@cache
def _codes() -> dict[str, dict[str, frozenset[str]]]:
    rows = {head: [line.split("\t") for line in lines] for head, lines in _blocks("codes.tsv")}
    return {head: {system: frozenset(each) for system, *each in systems} for head, systems in rows.items()}


def _element(line: str) -> Element:
    name, cardinality, kinds, *value_set = line.split("\t")
    least, most = cardinality.split("..")
    return Element(
        name=name,
        least=int(least),
        most=None if most == "*" else int(most),
        kinds=tuple(_kind(kind) for kind in kinds.split("|")),
        codes=value_set[0] if value_set else "",
    )


def _kind(text: str) -> Kind:
    found = _REFERENCE.fullmatch(text)
    return Kind("Reference", frozenset(found[1].split(",")) - {""}) if found else Kind(text)
