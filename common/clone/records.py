"""The systems of a tree, read from their records without importing them."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import PurePosixPath
from typing import Any

from common.clone.git import Tree
from common.clone.reach import Code, code
from common.errors import SystemUnavailable
from common.system import System

UNSAID: dict[str, Any] = {"summary": "", "task": "", "risk": "", "datasets": (), "extras": ()}


class Record(System):
    """A system as its record says, which is read and not imported."""

    @property
    def folder(self) -> str:
        """Where its rooms are."""
        return self.name.replace(".", "/")


def verticals(tree: Tree) -> list[str]:
    """Packages with a service."""
    return sorted(name.partition("/")[0] for name in tree if name.endswith("/service.py") and name.count("/") == 1)


def records(tree: Tree) -> dict[str, Record]:
    """Every system of the tree by name."""
    tops = set(verticals(tree))
    found = {}
    for name, file in sorted(tree.items()):
        parts = PurePosixPath(name).parts
        if len(parts) == 3 and parts[0] in tops and parts[2] == "__init__.py":
            record = _record(code(name, file.content))
            if record:
                found[record.name] = record
    return found


def chosen(tree: Tree, origin: str) -> list[Record]:
    """The systems that a vertical's or a system's name stands for; raises `SystemUnavailable` when there is none."""
    known = records(tree)
    found = [record for record in known.values() if origin in (record.name, record.vertical)]
    if not found:
        vertical = origin in verticals(tree)
        raise SystemUnavailable(
            "this vertical has no system yet" if vertical else "no such system or vertical",
            got=repr(origin),
            expected=f"one of {', '.join(sorted({r.vertical for r in known.values()} | set(known)))}",
            fix=f"make an empty system with `espalier new --blank {origin}.<name>`" if vertical else "",
        )
    return found


def _record(file: Code) -> Record | None:
    call = file.constants.get("SYSTEM")
    if not isinstance(call, ast.Call) or not call.keywords:
        return None
    known = {field.name for field in fields(Record)}
    values: dict[str, Any] = {
        entry.arg: tuple(map(file.value, entry.value.elts))
        if isinstance(entry.value, ast.Tuple)
        else file.value(entry.value)
        for entry in call.keywords
        if entry.arg in known
    }
    return Record(**{**UNSAID, **values}) if values.get("name") else None
