"""Which modules some modules reach, read from their syntax trees: nothing is imported.

An import counts wherever it stands, also inside a function. So does text that names a module: `"module:attribute"` of
a System's record, `-m common.x` of a subprocess, `from common.x import y` of a child's code. Docstrings do not count.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import PurePosixPath

DOTTED = re.compile(r"\b[a-zA-Z_]\w*(?:\.[a-zA-Z_]\w*)*")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class Code:
    """One Python file: what it imports, and the text in it."""

    def __init__(self, path: str, content: bytes) -> None:
        self.path = PurePosixPath(path)
        self.nodes = list(ast.walk(ast.parse(content, path)))

    @property
    def module(self) -> str:
        """Its dotted name."""
        return module_of(self.path)

    @cached_property
    def imports(self) -> set[str]:
        """Full names of what is imported; `from a import b` gives `a` and `a.b`."""
        found = set()
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                above = self.path.parent.parts[: len(self.path.parent.parts) - node.level + 1] if node.level else ()
                base = ".".join((*above, *([node.module] if node.module else [])))
                found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        return found

    @cached_property
    def texts(self) -> list[str]:
        """All text but docstrings; an f-string with the file's own constants filled in."""
        documented = [node.body[0] for node in self.nodes if isinstance(node, DOCUMENTED) and node.body]
        docstrings = {id(first.value) for first in documented if isinstance(first, ast.Expr)}
        found = []
        for node in self.nodes:
            if isinstance(node, ast.JoinedStr):
                found.append(self.value(node))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                found.append(node.value)
        return found

    @cached_property
    def constants(self) -> dict[str, ast.expr]:
        """What names of the module are bound to."""
        return {
            target.id: node.value
            for node in getattr(self.nodes[0], "body", ())
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def value(self, node: ast.AST) -> str:
        """Text of a constant, a name bound to one, or an f-string of these; what is unknown is a space."""
        if isinstance(node, ast.Constant):
            return str(node.value)
        if isinstance(node, ast.JoinedStr):
            return "".join(self.value(part) for part in node.values)
        if isinstance(node, ast.FormattedValue):
            return self.value(node.value)
        if isinstance(node, ast.Name) and isinstance(self.constants.get(node.id), ast.Constant):
            return self.value(self.constants[node.id])
        return " "


@lru_cache(maxsize=4096)
def code(path: str, content: bytes) -> Code:
    """A file, read once."""
    return Code(path, content)


def module_of(path: PurePosixPath) -> str:
    """The dotted name, `a.b` for `a/b/__init__.py`."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(names: Iterable[str], known: Mapping[str, Code]) -> Iterator[str]:
    """The known modules that dotted names lead to, with the packages around them."""
    for name in names:
        parts = name.split(".")
        yield from (module for n in range(1, len(parts) + 1) if (module := ".".join(parts[:n])) in known)


def named(text: str, known: Mapping[str, Code], tops: set[str]) -> Iterator[str]:
    """Modules that a text names by a dotted name."""
    dotted = (name for name in DOTTED.findall(text) if name.partition(".")[0] in tops)
    return modules((name for name in dotted if "." in name), known)


def reach(roots: Iterable[str], known: Mapping[str, Code]) -> set[str]:
    """All modules among `known` that `roots` (names) reach, themselves included."""
    tops = {name.partition(".")[0] for name in known}
    found: set[str] = set()
    ahead = list(modules(roots, known))
    while ahead:
        name = ahead.pop()
        if name in found:
            continue
        found.add(name)
        ahead += modules(known[name].imports, known)
        for text in known[name].texts:
            ahead += named(text, known, tops)
    return found
