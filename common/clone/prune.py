"""Which files of the repository go along with some systems."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from common.clone.git import Tree
from common.clone.reach import Code, code, module_of, named, reach
from common.clone.records import Record, records, verticals

FRAME = "common"
COMMAND = (f"{FRAME}.cli", f"{FRAME}.__main__")
# What speaks of the repository as a whole, or is written anew for a clone.
STAY = (
    *("README.md", "README.zh.md", "PLAN.md", "acceptance.toml", "NOTICE", ".template.json"),
    *("tests/repository/", "tests/benchmarks/"),
)


@dataclass(frozen=True)
class Pruning:
    """A tree, and the systems that are to be cut out of it."""

    tree: Tree
    wanted: tuple[Record, ...]

    @cached_property
    def known(self) -> dict[str, Code]:
        """Every module of the frame and the verticals."""
        tops = {FRAME, *self.all_verticals}
        files = (code(n, f.content) for n, f in self.tree.items() if n.endswith(".py") and n.partition("/")[0] in tops)
        return {file.module: file for file in files}

    @cached_property
    def systems(self) -> tuple[Record, ...]:
        """The wanted systems, and those that they reach through `serve`."""
        known, found = records(self.tree), {record.name: record for record in self.wanted}
        ahead = list(self.wanted)
        while ahead:
            name = ahead.pop().name
            inside = [module for module in self.known if f"{module}.".startswith(f"{name}.")]
            for module in reach(inside, self.known):
                other = known.get(".".join(module.split(".")[:2]))
                if other and other.name not in found:
                    found[other.name] = other
                    ahead.append(other)
        return tuple(found[name] for name in sorted(found))

    @cached_property
    def all_verticals(self) -> set[str]:
        """Also those that stay behind."""
        return set(verticals(self.tree))

    @cached_property
    def verticals(self) -> set[str]:
        """Those of the systems."""
        return {record.vertical for record in self.systems}

    @cached_property
    def datasets(self) -> set[str]:
        """Those of the systems."""
        return {dataset for record in self.systems for dataset in record.datasets}

    @cached_property
    def absent(self) -> set[str]:
        """Names of systems and verticals that stay behind."""
        return (set(self.all_verticals) - self.verticals) | (set(records(self.tree)) - {s.name for s in self.systems})

    @cached_property
    def modules(self) -> set[str]:
        """What the command line, the services, the systems, the example and the files that call them reach."""
        own = [m for m in self.known if any(f"{m}.".startswith(f"{record.name}.") for record in self.systems)]
        services = [m for v in self.verticals for m in (v, f"{v}.service")]
        called = [
            module
            for name, file in self.tree.items()
            if name.partition("/")[0] in ("Makefile", "pyproject.toml", ".ci", "deploy") and file.text
            for module in named(file.text, self.known, {FRAME})
        ]
        taught = [
            module
            for name, file in self.tree.items()
            if name.startswith("examples/") and name.endswith(".py")
            for module in code(name, file.content).imports & self.known.keys()
        ]
        return reach([*COMMAND, *services, *own, *called, *taught], self.known)

    @cached_property
    def files(self) -> list[str]:
        """Paths of all files that go along, in order."""
        plain = {name for name in self.tree if not name.startswith("tests/") and self._along(PurePosixPath(name))}
        return sorted(plain | set(self._tests()))

    def _along(self, path: PurePosixPath) -> bool:
        name, (top, *rest) = str(path), path.parts
        if name.startswith(STAY):
            return False
        if top in self.all_verticals:
            system = f"{top}.{rest[0]}"
            return top in self.verticals and (len(rest) == 1 or system in {record.name for record in self.systems})
        if top == FRAME:
            return module_of(path) in self.modules if path.suffix == ".py" else self._data_of_frame(path)
        if top == "datasets":
            return rest[0] in self.datasets
        if top == "benchmarks":
            return rest[0] in {record.name for record in self.systems}
        if top == "docs":
            pages = {name.partition(".")[2] for name in self.absent} - {record.short_name for record in self.systems}
            page = PurePosixPath(rest[0]).stem  # a system's own, or one more of it: customer_service_dialogue
            return not any(page == name or page.startswith(f"{name}_") for name in pages)
        return not (top == "deploy" and self.absent & set(path.parts))

    def _data_of_frame(self, path: PurePosixPath) -> bool:
        """A template goes with the module that names it; one that none names, with its package."""
        users = {m for m, file in self.known.items() if any(path.name in text for text in file.texts)}
        package = ".".join(path.parent.parts)
        return bool(users & self.modules) if users else package in self.modules

    def _tests(self) -> Iterable[str]:
        """Tests of what goes along: all that they import is there, and they name no data set that is not."""
        tops = {FRAME, *self.all_verticals}
        gone = {name.split("/")[1] for name in self.tree if name.startswith("datasets/")} - self.datasets
        kept: dict[str, Code | None] = {}
        for name, file in self.tree.items():
            parts = PurePosixPath(name).parts
            if parts[0] != "tests" or name.startswith(STAY):
                continue
            if parts[1] in tops - {FRAME} and not self._along(PurePosixPath(*parts[1:])):
                continue
            test = code(name, file.content) if name.endswith(".py") else None
            if test and (self._misses(test, tops) or gone & set(test.texts)):
                continue
            kept[name] = test
        while lacking := {name for name, test in kept.items() if test and self._lacks_helper(test, set(kept))}:
            kept = {name: test for name, test in kept.items() if name not in lacking}
        folders = {str(PurePosixPath(name).parent) for name, test in kept.items() if test}
        return [name for name, test in kept.items() if test or str(PurePosixPath(name).parent) in folders]

    def _misses(self, test: Code, tops: set[str]) -> bool:
        """Whether a test imports a module that stays behind."""
        house = {name for name in test.imports if name.partition(".")[0] in tops}
        return any(name in self.known and name not in self.modules for name in house)

    def _lacks_helper(self, test: Code, kept: set[str]) -> bool:
        """Whether a test imports a neighbour (by its bare name) that does not go along."""
        for name in test.imports:
            for folder in test.path.parents:
                helper = str(folder / f"{name}.py")
                if helper in self.tree and helper.startswith("tests/") and helper not in kept:
                    return True
        return False
