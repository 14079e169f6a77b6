"""Where every reference leads: contained, `urn:uuid`, relative and absolute; what leads nowhere, and what in a circle.

As hl7.org/fhir/R4/bundle.html#references says: a relative reference is read against the `fullUrl` of its own entry,
then as `Type/id` of any resource at hand. Nothing is fetched, and nothing
is followed further than one step, so that circles cost nothing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from healthcare.medical_records.fhir.lossless import walk
from healthcare.medical_records.fhir.problem import Problem, shown

Json = dict[str, Any]
Way = Literal["contained", "urn", "relative", "absolute", "search"]
FORM = re.compile(r"#\S*|urn:\S+|[a-z][a-z0-9+.\-]*://\S+|[A-Z][A-Za-z]+\?\S+|[A-Z][A-Za-z]+/[^\s/]+\S*")
"""What a reference may look like: contained, urn, absolute, a search, relative."""
_HISTORY = re.compile(r"/_history/[^/#]*")
_BASE = re.compile(r"(.*/)?[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")
MOST_IN_A_CIRCLE = 6
"""Members of a circle that a problem names."""


@dataclass(frozen=True)
class Node:
    """A resource at hand: `name` says where it stands, `Bundle.entry[3].resource` or `line 7`."""

    resource: Json
    name: str
    full_url: str = ""
    container: str = ""

    @property
    def key(self) -> str:
        """`Type/id`, as relative references say it; empty if it has no id."""
        kind, own = self.resource.get("resourceType"), self.resource.get("id")
        return f"{kind}/{own}" if isinstance(kind, str) and isinstance(own, str) else ""


@dataclass(frozen=True)
class Link:
    """A reference from a node, `path` below it; `target` is the index of the node it leads to, if one is at hand."""

    source: int
    path: str
    reference: str
    way: Way
    target: int | None

    @property
    def dangling(self) -> bool:
        """Whether it can lead nowhere else: an absolute URL or a search may be answered by a server."""
        return self.target is None and self.way in ("contained", "urn", "relative")


class Graph:
    """The resources at hand and the references between them; contained resources are nodes of their own."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = [part for node in nodes for part in (node, *_contained(node))]
        self._by_url: dict[str, int] = {}
        self._by_key: dict[str, int] = {}
        self._at_hand: dict[tuple[str, str], int] = {}
        for at, node in enumerate(self.nodes):
            if node.full_url:
                self._by_url.setdefault(node.full_url, at)
            if node.key and not node.container:
                self._by_key.setdefault(node.key, at)
            own = (node.container, str(node.resource.get("id"))) if node.container else (node.name, "")
            self._at_hand.setdefault(own, at)

    @cached_property
    def links(self) -> list[Link]:
        """Every reference of every node, in order."""
        return [link for at, node in enumerate(self.nodes) for link in self._links(at, node)]

    def find(self, reference: str) -> Json | None:
        """The resource that an absolute, urn or relative reference names; None if it is not at hand."""
        at = self._outside(reference, "")
        return None if at is None else self.nodes[at].resource

    def circles(self) -> list[list[int]]:
        """Groups of nodes that lead to each other, or one that leads to itself: the strongly connected components."""
        import numpy as np
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        pairs = [(link.source, link.target) for link in self.links if link.target is not None]
        if not pairs:
            return []
        ends = np.array(pairs).T
        size = len(self.nodes)
        matrix = coo_array((np.ones(len(pairs)), (ends[0], ends[1])), shape=(size, size))
        _, labels = connected_components(matrix, directed=True, connection="strong")
        groups: dict[int, list[int]] = defaultdict(list)
        for at, label in enumerate(labels):
            groups[int(label)].append(at)
        alone = {source for source, target in pairs if source == target}
        return [group for group in groups.values() if len(group) > 1 or group[0] in alone]

    def problems(self) -> Iterator[Problem]:
        """What leads to nothing: an error, or a warning if a server may have it; doubles and circles are warnings too.

        What is contained, `validate` looks at. Of a lone resource it is no matter that the others are elsewhere.
        """
        lone = sum(not node.container for node in self.nodes) == 1
        missing: dict[tuple[Way, str], list[str]] = defaultdict(list)
        for link in self.links:
            if link.dangling and (link.way == "urn" or (link.way == "relative" and not lone)):
                missing[link.way, link.reference].append(f"{self.nodes[link.source].name}.{link.path}")
        for (way, reference), places in missing.items():
            got = shown(reference) + (f", and from {len(places) - 1} more places" if len(places) > 1 else "")
            if way == "urn":
                yield Problem(places[0], "leads to nothing", got, "a resource of the same document")
            else:
                expected = "a resource that is here, or on a server"
                yield Problem(places[0], "leads to nothing at hand", got, expected, "warning")
        for name, first in self._doubles():
            yield Problem(
                name, "stands twice", self.nodes[first].key, f"one other than {self.nodes[first].name}'s", "warning"
            )
        for group in self.circles():
            names = [self.nodes[at].key or self.nodes[at].name for at in group[:MOST_IN_A_CIRCLE]]
            more = f" and {len(group) - len(names)} more" if len(group) > len(names) else ""
            what = "references in a circle" if len(group) > 1 else "a reference to itself"
            yield Problem(self.nodes[group[0]].name, what, ", ".join(names) + more, severity="warning")

    def _doubles(self) -> Iterator[tuple[str, int]]:
        seen: dict[tuple[str, str], int] = {}
        for at, node in enumerate(self.nodes):
            meta = node.resource.get("meta")
            key = (node.key, str(meta.get("versionId")) if isinstance(meta, dict) else "")
            if node.key and not node.container and seen.setdefault(key, at) != at:
                yield node.name, seen[key]

    def _links(self, at: int, node: Node) -> Iterator[Link]:
        elsewhere = {"contained", "entry"} if node.resource.get("resourceType") == "Bundle" else {"contained"}
        for path, part, _ in walk({name: each for name, each in node.resource.items() if name not in elsewhere}):
            reference = part.get("reference") if isinstance(part, dict) else None
            if isinstance(reference, str):
                way, target = self._lead(reference, node)
                yield Link(at, f"{path}.reference", reference, way, target)

    def _lead(self, reference: str, node: Node) -> tuple[Way, int | None]:
        if reference.startswith("#"):
            return "contained", self._at_hand.get((node.container or node.name, reference[1:]))
        way: Way = "relative"
        if reference.startswith("urn:"):
            way = "urn"
        elif "?" in reference:
            way = "search"
        elif "://" in reference:
            way = "absolute"
        base = _BASE.fullmatch(node.full_url)
        return way, self._outside(reference, (base[1] or "") if base else "")

    def _outside(self, reference: str, base: str) -> int | None:
        plain = _HISTORY.sub("", reference).partition("#")[0]
        if "://" in plain or plain.startswith("urn:"):
            return self._by_url.get(plain)
        return self._by_url.get(f"{base}{plain}") if f"{base}{plain}" in self._by_url else self._by_key.get(plain)


def nodes_of(resource: Json, name: str = "") -> list[Node]:
    """A resource as nodes: itself, and of a Bundle every resource in it, bundles within it likewise."""
    found = [Node(resource, name or str(resource.get("resourceType", "the document")))]
    for node in found:
        entries = node.resource.get("entry") if node.resource.get("resourceType") == "Bundle" else None
        for number, entry in enumerate(entries if isinstance(entries, list) else ()):
            each, url = (entry.get("resource"), entry.get("fullUrl")) if isinstance(entry, dict) else (None, None)
            if isinstance(each, dict):
                found.append(Node(each, f"{node.name}.entry[{number}].resource", url if isinstance(url, str) else ""))
    return found


def _contained(node: Node) -> Iterator[Node]:
    parts = node.resource.get("contained")
    for at, part in enumerate(parts if isinstance(parts, list) else ()):
        if isinstance(part, dict) and isinstance(part.get("id"), str):
            yield Node(part, f"{node.name}.contained[{at}]", container=node.name)
