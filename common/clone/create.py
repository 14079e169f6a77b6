"""`espalier new`: a project of one's own, cut out of the last commit of this repository."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.clone.brief import Brief, acceptance_toml, ask, plan
from common.clone.git import (
    File,
    Tree,
    address_of,
    checkout,
    commit_of,
    files_of,
    first_commit,
    is_dirty,
    write_tree,
)
from common.clone.prune import Pruning
from common.clone.records import chosen
from common.clone.render import Template, render
from common.errors import UsageError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]")
TAKEN = {"espalier", "common", "tests", "docs"}


@dataclass(frozen=True)
class Created:
    """What was made."""

    path: Path
    files: int
    systems: tuple[str, ...]
    dirty: bool


def new(target: Path, origin: str, brief: Brief, answer: Callable[[str, str], str] | None = None) -> Created:
    """Write the project of a vertical or a system into a new folder, as a git repository with one commit.

    What is copied is the last commit, so that `.template.json` names one that has it. The folder appears whole or not
    at all. Raises `UsageError` for a folder that is not empty or a bad name, `SystemUnavailable` for an unknown origin.
    """
    root = checkout()
    target = vacant(target, root)
    name = project_name(target)
    commit = commit_of(root)
    tree = files_of(root, commit)
    systems = Pruning(tree, tuple(chosen(tree, origin))).systems
    brief = ask(brief.checked(), systems, answer) if answer else brief.checked()
    made = render(tree, Template(address_of(root), commit, origin, name))
    made["PLAN.md"] = File(plan(name, brief, systems, tree).encode())
    made["acceptance.toml"] = File(acceptance_toml(brief, systems).encode())
    appear(target, made, f"Start from Espalier {commit[:12]}, {origin}")
    return Created(target, len(made), tuple(record.name for record in systems), is_dirty(root))


def appear(target: Path, tree: Tree, message: str) -> None:
    """Write a folder with its first commit beside its place, and rename it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = target.parent / f".{target.name}.{secrets.token_hex(4)}.part"
    try:
        write_tree(staging, tree)
        first_commit(staging, message)
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def vacant(target: Path, root: Path) -> Path:
    """The folder to write, resolved; raises `UsageError` when something is there, or when it lies in the repository."""
    target = target.expanduser().resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError("there is something already", where=str(target), expected="a new or an empty folder")
    if target.is_relative_to(root):
        raise UsageError(
            "a project inside the repository it comes from", where=str(target), expected="a folder outside"
        )
    return target


def project_name(target: Path) -> str:
    """The folder's name as the project's; raises `UsageError` when a Python project cannot be called so."""
    if not NAME.fullmatch(target.name):
        raise UsageError(
            "not a name for a project",
            got=repr(target.name),
            expected="letters, digits, dots, dashes and underscores, a letter first, such as acme-lending",
        )
    if target.name.lower() in TAKEN:
        raise UsageError("this name is taken by Espalier", got=repr(target.name), expected="another one")
    return target.name
