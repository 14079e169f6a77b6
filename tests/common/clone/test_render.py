"""What goes along with a system, and what stays behind."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import PurePosixPath
from posixpath import normpath

import pytest
from a_source import MORE, STRANGER

from common.clone.git import Tree
from common.clone.prune import COMMAND
from common.clone.reach import Code, reach
from common.clone.records import Record, records, verticals
from common.clone.render import RECORD, Template, render
from common.files import sha256

LINK = re.compile(r"\]\(([^()\s]+)\)")


@pytest.fixture(scope="session")
def ours(tree: Tree, native: Record, template: Callable[..., Template]) -> Tree:
    return render(tree, template(native.name))


@pytest.fixture(scope="session")
def strange(tree: Tree, template: Callable[..., Template]) -> Tree:
    return render(tree, template(STRANGER))


def test_it_holds_no_file_of_another_vertical_or_system(ours: Tree, strange: Tree, tree: Tree, native: Record) -> None:
    for made, record in ((ours, native), (strange, records(tree)[STRANGER])):
        others = set(verticals(tree)) - {record.vertical}
        for name in made:
            assert not others & set(PurePosixPath(name).parts), name
        folders = {"/".join(name.split("/")[:2]) for name in made if name.count("/") > 1}
        assert {f for f in folders if f.startswith(f"{record.vertical}/")} == {record.folder}
        assert {name.split("/")[1] for name in made if name.startswith("datasets/")} == set(record.datasets)
        assert f"docs/{record.short_name}.md" in made
        assert f"{record.folder}/README.md" in made
    assert "docs/pruning.md" not in ours


def test_it_holds_no_module_of_the_frame_that_nothing_reaches(ours: Tree, strange: Tree) -> None:
    for made in (ours, strange):
        code = {c.module: c for c in (Code(n, f.content) for n, f in made.items() if n.endswith(".py"))}
        frame = {module for module in code if module.partition(".")[0] == "common"}
        own = {module for module, c in code.items() if c.path.parts[0] not in ("common", "tests", "examples", "docs")}
        told = " ".join(f.text or "" for n, f in made.items() if n.split("/")[0] in ("Makefile", ".ci", "deploy"))
        called = {module for module in frame if re.search(rf"\b{re.escape(module)}\b", told) and "." in module}
        assert frame <= reach({*COMMAND, *own, *called}, code)
    assert "common/lonely.py" not in {**ours, **strange}
    assert not set(MORE) & set(ours)
    assert {"common/orchard_tools.py", "common/orchard.html.j2", "tests/common/test_orchard_tools.py"} <= set(strange)


def test_tests_that_come_along_import_only_what_came_along(ours: Tree, strange: Tree, tree: Tree) -> None:
    modules = {Code(name, b"").module for name in tree if name.endswith(".py")}
    for made in (ours, strange):
        kept = {Code(name, b"").module for name in made if name.endswith(".py")}
        for name, file in made.items():
            if name.startswith("tests/") and name.endswith(".py"):
                assert not (Code(name, file.content).imports & modules) - kept, name
    assert any(name.startswith("tests/common/bundle/") for name in strange)
    assert not any(name.startswith("tests/repository/") for name in {**ours, **strange})


def test_no_link_leads_nowhere(ours: Tree, strange: Tree) -> None:
    for made in (ours, strange):
        present = {str(parent) for name in made for parent in (PurePosixPath(name), *PurePosixPath(name).parents)}
        present |= {"PLAN.md", "acceptance.toml"}  # written beside it
        for name, file in made.items():
            if name.endswith(".md"):
                for target in LINK.findall(file.text or ""):
                    path = target.partition("#")[0]
                    if path and "://" not in target and re.search(r"[/.]", path):
                        assert normpath(str(PurePosixPath(name).parent / path)) in present, (name, target)


def test_results_and_rows_of_absent_systems_are_left_out(strange: Tree, tree: Tree) -> None:
    absent = [name for name in records(tree) if name != STRANGER]
    for name, file in strange.items():
        if name.endswith(".md"):
            assert "<!-- results:" not in (file.text or ""), name
            rows = [line for line in (file.text or "").splitlines() if line.startswith("|")]
            assert not [row for row in rows for system in absent if f"`{system}`" in row], name
    index = strange["docs/index.md"].text or ""
    assert "\nstart\n" in index
    for system in absent:
        assert f"\n{system.partition('.')[2]}\n" not in index


def test_the_project_file_is_pruned_and_renamed(ours: Tree, strange: Tree, tree: Tree, native: Record) -> None:
    for made, record in ((ours, native), (strange, records(tree)[STRANGER])):
        found = tomllib.loads(made["pyproject.toml"].text or "")
        project = found["project"]
        assert project["name"] == "acme"
        assert list(project["entry-points"]["espalier.systems"]) == [record.name]
        assert found["tool"]["setuptools"]["packages"]["find"]["include"] == [
            "common",
            "common.*",
            record.vertical,
            f"{record.vertical}.*",
        ]
        extras = project["optional-dependencies"]
        assert {record.vertical, "dev"} <= set(extras)
        assert not (set(verticals(tree)) - {record.vertical}) & set(extras)
        wanted = {e for e in extras for r in extras[e] if r.startswith("acme[") for e in r[5:-1].split(",")}
        assert wanted <= set(extras)
        assert "espalier[" not in made["pyproject.toml"].text
    assert "VERTICAL ?= orchard" in (strange["Makefile"].text or "")
    assert "\n!orchard\n" in (strange[".dockerignore"].text or "")
    assert "!orchard" not in (ours[".dockerignore"].text or "")


def test_torch_stays_behind_with_the_systems_that_need_it(
    tree: Tree, native: Record, template: Callable[..., Template]
) -> None:
    """Once a neighbour brings a heavy extra into the vertical's union, a system without it does not install it."""
    text = tree["pyproject.toml"].text or ""
    name = tomllib.loads(text)["project"]["name"]
    heavy = text.replace(
        "[project.scripts]", f'heavy = ["torch>=2.13"]\nmiddling = ["{name}[heavy]"]\n\n[project.scripts]'
    )
    heavy = re.sub(
        rf'^({native.vertical}(?:-serve)?) = \["{name}\[(.*)\]"\]$', rf'\1 = ["{name}[\2,middling]"]', heavy, flags=re.M
    )
    neighbour = f"{native.vertical}/neighbour/__init__.py"
    record = f'SYSTEM = System(name="{native.vertical}.neighbour", extras=("middling",))\n'
    file = type(tree["LICENSE"])
    grown = {**tree, "pyproject.toml": file(heavy.encode()), neighbour: file(record.encode())}

    def extras(origin: str) -> dict[str, list[str]]:
        found = tomllib.loads(render(grown, template(origin))["pyproject.toml"].text or "")
        return found["project"]["optional-dependencies"]

    alone, whole, other = extras(native.name), extras(native.vertical), extras(f"{native.vertical}.neighbour")
    assert not {"heavy", "middling"} & set(alone)
    assert "torch" not in str(alone)
    assert {"heavy", "middling"} <= set(whole)
    assert "middling" in str(whole[native.vertical])
    assert {"heavy", "middling"} <= set(other)
    assert "tabular" not in other or "tabular" in native.extras


def test_the_record_has_a_checksum_of_each_file(ours: Tree, native: Record, template: Callable[..., Template]) -> None:
    record = json.loads(ours[RECORD].content)
    wanted = template(native.name)
    assert (record["commit"], record["origin"], record["name"]) == (wanted.commit, native.name, "acme")
    assert record["files"] == {name: sha256(file.content) for name, file in ours.items() if name != RECORD}


def test_licence_and_notice_are_there_and_code_is_as_it_was(ours: Tree, tree: Tree) -> None:
    assert ours["LICENSE"] == tree["LICENSE"]
    assert "Apache License, Version 2.0" in (ours["NOTICE"].text or "")
    for name, file in ours.items():
        if name.endswith(".py"):
            assert file == tree[name]
    assert ours[".ci/run"].executable
