"""The systems of a tree, read from their records without importing them."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import PurePosixPath

from common.clone.git import Tree
from common.clone.reach import Code, code
from common.errors import SystemUnavailable


@dataclass(frozen=True)
class Record:
    """What `SYSTEM = System(...)` says, as far as a clone needs it."""

    name: str
    summary: str = ""
    task: str = ""
    risk: str = ""
    datasets: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    acceptance: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Where its rooms are."""
        return self.name.replace(".", "/")

    @property
    def vertical(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    @property
    def short_name(self) -> str:
        """The part of the name after the dot."""
        return self.name.partition(".")[2]


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
    known = Record.__dataclass_fields__
    values = {
        entry.arg: tuple(map(file.value, entry.value.elts))
        if isinstance(entry.value, ast.Tuple)
        else file.value(entry.value)
        for entry in call.keywords
        if entry.arg in known
    }
    return Record(**values) if values.get("name") else None  # type: ignore[arg-type]
