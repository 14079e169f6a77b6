"""Bundles and NDJSON files as records: every resource that could be read, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from common.errors import InvalidRequest, RequestError
from healthcare.medical_records.fhir.lossless import DOCUMENT, MOST_BYTES, parse
from healthcare.medical_records.fhir.problem import Problem
from healthcare.medical_records.fhir.references import Graph, Node, nodes_of
from healthcare.medical_records.fhir.validate import validate

Json = dict[str, Any]


@dataclass(frozen=True)
class Records:
    """Resources as they came, each with its place, and the faults found on the way; nothing is repaired."""

    nodes: list[Node]
    faults: list[Problem]

    @cached_property
    def graph(self) -> Graph:
        """The references between them."""
        return Graph(self.nodes)

    @cached_property
    def problems(self) -> list[Problem]:
        """All faults: what could not be read, what is not FHIR R4, where references lead to nothing or in circles."""
        return [*self.faults, *self.graph.problems()]

    def of_type(self, kind: str) -> Iterator[Json]:
        """The resources of a type, in order."""
        return (node.resource for node in self.nodes if node.resource.get("resourceType") == kind)

    def required(self) -> Records:
        """The same records; raises `InvalidRequest` with the first error, and how many more there are."""
        found = [problem for problem in self.problems if problem.severity == "error"]
        if found:
            more = f"and {len(found) - 1} more faults" if len(found) > 1 else ""
            first = found[0]
            raise InvalidRequest(first.what, where=first.path, got=first.got or None, expected=first.expected, fix=more)
        return self


def read(content: bytes | str, where: str = DOCUMENT, most: int = MOST_BYTES) -> Records:
    """One resource or Bundle of at most `most` bytes.

    Raises `RequestTooLarge`, or `InvalidRequest` if it is no JSON object; every other fault is in `problems`.
    """
    value = parse(content, where, most)
    if not isinstance(value, dict):
        raise InvalidRequest("not a resource", where=where, got=type(value).__name__, expected="a JSON object")
    return Records(nodes_of(value), validate(value))


def read_ndjson(lines: Iterable[bytes | str], where: str = "", most: int = MOST_BYTES) -> Records:
    """One resource a line, as bulk exports give them; blank lines are passed over.

    A line that cannot be read, or is no R4, is named in `problems` and the others are read; `where` names the file.
    """
    nodes: list[Node] = []
    faults: list[Problem] = []
    for number, line in enumerate(lines, start=1):
        name = f"{where} line {number}".strip()
        if not line.strip():
            continue
        try:
            value = parse(line.strip(), name, most)
        except RequestError as error:
            faults.append(_told(error))
            continue
        faults += (Problem(f"{name}: {each.path}", each.what, each.got, each.expected) for each in validate(value))
        nodes += nodes_of(value, name) if isinstance(value, dict) else ()
    return Records(nodes, faults)


def explain(content: bytes | str) -> list[Problem]:
    """Everything that is wrong with one resource or Bundle, down to bytes that are not JSON; empty if nothing is."""
    try:
        return read(content).problems
    except RequestError as error:
        return [_told(error)]


def _told(error: RequestError) -> Problem:
    return Problem(error.where, error.what, str(error.got or ""), str(error.expected or ""))
