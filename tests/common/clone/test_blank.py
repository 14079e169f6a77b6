"""`espalier new --blank`: an empty system with all rooms, here or as a plug-in."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from a_source import ROOT, save

from common.clone.blank import WORDS, example_of, new_blank
from common.clone.git import git
from common.clone.records import Record
from common.errors import UsageError

ROOMS = {"__init__.py", "config.py", "data.py", "model.py", "train.py", "evaluate.py", "serve.py"}
OF_THE_EXAMPLE = ("irrigat", "soil", "moist", "drought", "humid", "agricult", "temperature", "rain", "farm", "a field")


def texts(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.suffix in (".py", ".md", ".toml")
    }


def words_of_the_example(text: str) -> list[str]:
    text = text.lower().replace("train", "").replace("`data.py`", "")
    return [word for word in OF_THE_EXAMPLE if word in text]


def test_every_word_to_be_replaced_stands_in_the_example() -> None:
    folder, system, package = example_of(ROOT)
    whole = "\n".join(texts(folder).values())
    predictor = f"{system.partition('.')[2].capitalize()}Predictor"
    assert [word for word in (*WORDS, predictor, package, system) if word not in whole] == []


def test_a_plug_in_package_has_all_rooms_and_nothing_of_the_example(
    source: Path, running: Callable[[Path], None], tmp_path: Path
) -> None:
    running(source)
    said = new_blank("city.parking_demand", tmp_path / "parking")
    assert said == [f"pip install -e {tmp_path / 'parking'}", "espalier check city.parking_demand"]
    found = texts(tmp_path / "parking")
    assert {f"espalier_parking_demand/{room}" for room in ROOMS} | {"README.md", "pyproject.toml"} <= set(found)
    for name, text in found.items():
        assert not words_of_the_example(text), name
        if name.endswith(".py"):
            ast.parse(text)
    project = tomllib.loads(found["pyproject.toml"])["project"]
    assert project["name"] == "espalier-parking-demand"
    assert project["entry-points"]["espalier.systems"] == {"city.parking_demand": "espalier_parking_demand:SYSTEM"}
    assert git(tmp_path / "parking", "status", "--porcelain") == b""


def check(root: Path, home: Path, name: str, module: str) -> subprocess.CompletedProcess[str]:
    """`espalier check` as after an installation: an entry point in a folder on the path."""
    info = home / "plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[espalier.systems]\n{name} = {module}:SYSTEM\n")
    variables = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(root), str(home)]),
        "ESPALIER_HOME": str(home / "home"),
    }
    command = [sys.executable, "-m", "common", "check", name]
    return subprocess.run(command, capture_output=True, text=True, env=variables, cwd=home, check=False)


def test_an_empty_plug_in_passes_the_check(source: Path, running: Callable[[Path], None], tmp_path: Path) -> None:
    running(source)
    new_blank("city.parking_demand", tmp_path / "parking")
    run = check(tmp_path / "parking", tmp_path / "site", "city.parking_demand", "espalier_parking_demand")
    assert run.returncode == 0, run.stderr
    assert "city.parking_demand: 14 checks passed" in run.stdout


def test_an_empty_system_in_this_repository_passes_the_check_the_linter_and_its_test(
    upstream: Path, running: Callable[[Path], None], native: Record, tmp_path: Path
) -> None:
    running(upstream)
    before = git(upstream, "ls-files").decode().splitlines()
    assert new_blank("agriculture.yield_forecast", None) == [
        "pip install -e '.[agriculture]'",
        "espalier check agriculture.yield_forecast",
    ]
    new_blank(f"{native.vertical}.another", None)
    changed = git(upstream, "status", "--porcelain", "--untracked-files=all").decode().splitlines()
    assert {line[3:] for line in changed if not line.startswith("??")} == {"pyproject.toml", ".dockerignore"}
    assert all((upstream / name).is_file() for name in before)
    for folder in ("agriculture/yield_forecast", f"{native.vertical}/another"):
        assert ROOMS | {"README.md"} <= {path.name for path in (upstream / folder).iterdir()}
        assert not any(map(words_of_the_example, texts(upstream / folder).values())) or folder.startswith("agri")
    assert (upstream / "agriculture" / "service.py").read_text().count('create_app("agriculture")') == 1
    project = tomllib.loads((upstream / "pyproject.toml").read_text())
    entries = project["project"]["entry-points"]["espalier.systems"]
    assert entries["agriculture.yield_forecast"] == "agriculture.yield_forecast:SYSTEM"
    assert entries[f"{native.vertical}.another"] == f"{native.vertical}.another:SYSTEM"
    assert {"agriculture", "agriculture-serve"} <= set(project["project"]["optional-dependencies"])
    assert {"agriculture", "agriculture.*"} <= set(project["tool"]["setuptools"]["packages"]["find"]["include"])
    assert not [path for path in upstream.iterdir() if path.name.startswith(".blank")]
    save(upstream, "two more")
    ruff = Path(sys.executable).parent / "ruff"
    for command in (("check",), ("format", "--check")):
        run = subprocess.run([ruff, *command], capture_output=True, text=True, cwd=upstream, check=False)
        assert run.returncode == 0, run.stdout
    run = check(upstream, tmp_path / "site", "agriculture.yield_forecast", "agriculture.yield_forecast")
    assert run.returncode == 0, run.stderr
    chosen = ["tests/agriculture", "tests/packaging/test_house_rules.py", "-k", "not size_is_a_design"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen]
    variables = os.environ | {"PYTHONPATH": str(upstream)}
    run = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=upstream, check=False)
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("yield", "not a name for a system: got 'yield'"),
        ("Agriculture.yield", "not a name for a system"),
        ("a.b.c", "not a name for a system"),
        ("agriculture.class", "not a name for a system"),
        ("orchard.pruning", "this name is taken: got 'orchard.pruning'"),
        ("common.thing", "this name is taken: got 'common'"),
        ("docs.thing", "this name is taken: got 'docs'"),
        ("json.thing", "this name is taken: got 'json'"),
    ],
)
def test_a_bad_or_taken_name_is_one_sentence_and_nothing_is_written(
    source: Path, running: Callable[[Path], None], tmp_path: Path, name: str, sentence: str
) -> None:
    running(source)
    for target in (None, tmp_path / "new"):
        with pytest.raises(UsageError) as refused:
            new_blank(name, target)
        assert sentence in str(refused.value)
    assert git(source, "status", "--porcelain") == b""
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_empty_stays_as_it_is(
    source: Path, running: Callable[[Path], None], tmp_path: Path
) -> None:
    running(source)
    (tmp_path / "mine.json").write_text(json.dumps(1))
    with pytest.raises(UsageError, match="there is something already"):
        new_blank("city.parking", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]
