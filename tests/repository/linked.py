"""Environments without downloads: the packages that some requirements need, and no others, linked from this one.

An environment of its own for every clone would fetch and unpack gigabytes. Linked, it takes seconds and no disk, and a
requirement that a clone forgot is as absent as it would be after an install.
"""

from __future__ import annotations

import csv
import os
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement


def normal(name: str) -> str:
    """As in the index (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def asked_of(project: Path, extras: Iterable[str]) -> Iterator[Requirement]:
    """What a project and some of its extras ask for; extras that name extras are followed."""
    table = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    for text in (*table["dependencies"], *(item for extra in extras for item in table["optional-dependencies"][extra])):
        requirement = Requirement(text)
        if normal(requirement.name) == normal(table["name"]):
            yield from asked_of(project, sorted(requirement.extras))
        else:
            yield requirement


def closure(requirements: Iterable[Requirement]) -> dict[str, Distribution]:
    """Every distribution of this environment that the requirements need, directly or not.

    What is not installed here is left out: the clone's own `pip install` then says that it is missing.
    """
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    left = [(requirement, "") for requirement in requirements]
    while left:
        requirement, extra = left.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = normal(requirement.name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            try:
                found[name] = distribution(name)
            except PackageNotFoundError:
                break
            left += [(Requirement(text), wanted) for text in found[name].requires or ()]
    return found


def link(venv: Path, requirements: Iterable[Requirement]) -> set[str]:
    """Link what the requirements need into an environment, with its programs; returns the names of what is there.

    A folder that nothing else shares is linked as a whole: 400 links instead of 60,000.
    """
    site = venv / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    wanted = closure(requirements)
    shared = {top for top, names in _owners().items() if not names <= set(wanted)}
    for package in wanted.values():
        parts = {name.parts[0] if name.parts[0] not in {"..", *shared} else str(name) for name in _files(package)}
        for part in sorted(parts):
            source = Path(os.path.normpath(str(package.locate_file(part))))
            target = Path(os.path.normpath(site / part))
            if target.is_relative_to(venv) and not target.exists() and source.exists() and not _script(source):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(source)
    return set(wanted)


@cache
def _owners() -> dict[str, set[str]]:
    """Which distributions have files in each folder of this environment."""
    owners: dict[str, set[str]] = {}
    for package in distributions():
        for name in _files(package):
            owners.setdefault(name.parts[0], set()).add(normal(package.metadata["Name"]))
    return owners


def _files(package: Distribution) -> list[PurePosixPath]:
    """As its record names them; `Distribution.files` would look at each."""
    return [PurePosixPath(row[0]) for row in csv.reader((package.read_text("RECORD") or "").splitlines())]


def _script(path: Path) -> bool:
    """Whether a program names the interpreter of this environment in its first line."""
    if path.parent.name != "bin" or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) == b"#!"
