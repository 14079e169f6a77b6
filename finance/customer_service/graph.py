"""Task graphs as data: one TOML file says what a task asks, confirms, calls and says, in English and in Chinese.

A task is a graph of nodes. `form` asks for slots, `confirm` reads back what was understood, `identify` makes sure who
asks, `call` uses an operation of the bank, `branch` looks at what is known, `lookup` answers from documents, `retry`
goes back, `say` tells, `handoff` gives the dialogue to a person, `end` leaves the task. `operations.toml` lists the
operations with all their errors, `phrases.toml` what the engine says itself. What a graph refers to is checked here;
what can happen on the way through it is checked by `check_graph.py`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from common.config import Strict
from common.errors import UsageError
from finance.customer_service.nodes import Branch, Call, Form, Kind, Name, Node, Retry, Slot, Text, Words, targets
from finance.customer_service.state import Frame

FOLDER = Path(__file__).parent / "graphs"
FAILURES = ("timeout", "unavailable", "invalid")
"""Errors that every operation can have: no answer in time, no answer at all, an answer that is not one."""
NOT_TASKS = ("operations", "phrases")
IDENTITY, HANDOFF, FALLBACK = "identity", "handoff", "faq"
"""Tasks that the engine itself starts: before private data, for a person, for intents that no other task has."""


class GraphError(UsageError):
    """A task graph that is not one: which file, which node, what it says and what it should."""


class Operation(Strict):
    """What the bank can do. `private`: about somebody's account, so only for a customer who is known; `changes`: only
    after a yes; `identifies`: its output `customer` says who asks."""

    arguments: dict[Name, Kind] = Field(default_factory=dict)
    outputs: dict[Name, Kind] = Field(default_factory=dict)
    errors: tuple[Name, ...] = ()
    private: bool = True
    changes: bool = False
    identifies: bool = False

    @property
    def all_errors(self) -> tuple[str, ...]:
        """Its own and those that every operation has."""
        return (*self.errors, *FAILURES)


class Graph(Strict):
    """One task."""

    id: Name
    version: int = Field(1, ge=1)
    title: Text
    intents: tuple[Name, ...] = ()
    start: Name
    slots: dict[Name, Slot] = Field(default_factory=dict)
    nodes: dict[Name, Node] = Field(min_length=1)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.start not in self.nodes:
            raise ValueError(f"start names one of the nodes ({', '.join(self.nodes)}), not {self.start!r}")
        for name, node in self.nodes.items():
            for how, target in targets(node):
                if target not in self.nodes:
                    raise ValueError(
                        f"nodes.{name}.{how} names one of the nodes ({', '.join(self.nodes)}), not {target!r}"
                    )
            for slot in node.slots if isinstance(node, Form | Retry) else ():
                if slot not in self.slots:
                    raise ValueError(
                        f"nodes.{name}.slots has slots of this task ({', '.join(self.slots)}), not {slot!r}"
                    )
        if lost := sorted(set(self.nodes) - set(self._reached())):
            raise ValueError(f"every node can be reached from {self.start!r}, but {', '.join(lost)} cannot")
        return self

    def _reached(self) -> set[str]:
        seen, open_ = {self.start}, [self.start]
        while open_:
            new = {target for _, target in targets(self.nodes[open_.pop()])} - seen
            seen |= new
            open_ += new
        return seen


class Phrases(Strict):
    """What the engine says by itself, the words it listens for, and what intents are called."""

    say: dict[Name, Text]
    words: dict[Name, Words]
    intents: dict[Name, Text]


class Tasks(Strict):
    """All graphs with their operations and phrases."""

    graphs: dict[str, Graph]
    operations: dict[str, Operation]
    phrases: Phrases

    @cached_property
    def by_intent(self) -> Mapping[str, str]:
        """The task of each intent that has one."""
        return {intent: graph.id for graph in self.graphs.values() for intent in graph.intents}

    def knows(self, frame: Frame) -> bool:
        """Whether a task under way is one of these graphs as it is now."""
        graph = self.graphs.get(frame.task)
        return graph is not None and frame.node in graph.nodes and frame.slots.keys() <= graph.slots.keys()

    def kind_of(self, graph: Graph, name: str) -> Kind | None:
        """The kind of a slot of a task, or of an output of an operation that it calls; None: not known to it."""
        if name in graph.slots:
            return graph.slots[name].kind
        for node in graph.nodes.values():
            if isinstance(node, Call) and name in self.operations[node.operation].outputs:
                return self.operations[node.operation].outputs[name]
        return None


def load_tasks(folder: Path = FOLDER, more: Mapping[str, Mapping[str, Any]] | None = None) -> Tasks:
    """The graphs of a folder, `more` added to or put in place of them; raises `GraphError` naming file and field."""
    if not folder.is_dir():
        raise GraphError("no such folder of task graphs", got=str(folder))
    found = {path.stem: _toml(path) for path in sorted(folder.glob("*.toml"))}
    for name in NOT_TASKS:
        if name not in found:
            raise GraphError("a file is missing", where=str(folder), expected=f"{name}.toml")
    phrases = _valid(Phrases, "phrases", found.pop("phrases"))
    known = {name: _valid(Operation, f"operations.{name}", each) for name, each in found.pop("operations").items()}
    graphs = {name: _valid(Graph, name, each) for name, each in {**found, **(more or {})}.items()}
    tasks = Tasks(graphs=graphs, operations=known, phrases=phrases)
    for name, graph in graphs.items():
        _check_references(tasks, name, graph)
    for needed in (IDENTITY, HANDOFF, FALLBACK):
        if needed not in graphs:
            raise GraphError("a task is missing that the engine needs", where=str(folder), expected=f"{needed}.toml")
    return tasks


def _check_references(tasks: Tasks, name: str, graph: Graph) -> None:
    if graph.id != name:
        raise GraphError("the id is not the name of the file", where=f"{name}.toml", got=graph.id, expected=name)
    for intent in graph.intents:
        if tasks.by_intent[intent] != name:
            raise GraphError("two tasks have the same intent", where=f"{name}.toml", got=intent)
    for key, node in graph.nodes.items():
        where = f"{name}.toml: nodes.{key}"
        if isinstance(node, Call):
            if node.operation not in tasks.operations:
                known = f"one of {', '.join(tasks.operations)}"
                raise GraphError("no such operation", where=where, got=node.operation, expected=known)
            operation = tasks.operations[node.operation]
            if set(node.arguments) != set(operation.arguments):
                got, expected = ", ".join(node.arguments) or "none", ", ".join(operation.arguments) or "none"
                raise GraphError("not the arguments of the operation", where=where, got=got, expected=expected)
            if unknown := sorted(set(node.errors) - set(operation.all_errors)):
                expected = f"some of {', '.join(operation.all_errors)}"
                raise GraphError("no such error of the operation", where=where, got=unknown[0], expected=expected)
    for key, node in graph.nodes.items():
        text = getattr(node, "text", None)
        used = text.names if text else {node.on} if isinstance(node, Branch) else set()
        used |= set(node.arguments.values()) - {"summary"} if isinstance(node, Call) else set()
        for one in sorted(used):
            if tasks.kind_of(graph, one) is None:
                fix = "name a slot of the task or an output of an operation that it calls"
                raise GraphError("an unknown value", where=f"{name}.toml: nodes.{key}", got=one, fix=fix)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GraphError(f"not TOML ({error})", where=path.name) from None


def _valid(kind: Any, name: str, content: Mapping[str, Any]) -> Any:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        # The discriminator stands in the path between a node and its field.
        place = ".".join(str(part) for part in first["loc"] if part != "__root__")
        expected = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        got = None if first["type"] in ("missing", "value_error") else repr(first["input"])[:80]
        where = f"{name}.toml: {place}" if place else f"{name}.toml"
        raise GraphError("not a task graph", where=where, got=got, expected=expected) from None
