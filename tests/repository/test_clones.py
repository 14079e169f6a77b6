"""Every system and every vertical there is: cloned, installed alone, its two commands run; grows by itself.

A clone is installed with its own extras into a fresh environment that holds what they ask for and nothing else, linked
from this one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from linked import asked_of, link, normal
from packaging.requirements import Requirement

from common.clone.git import Tree, commit_of, files_of, git
from common.clone.records import records
from common.clone.render import RECORD, Template, render

ROOT = Path(__file__).parents[2]
ABOUT = {"README.md", "NOTICE", RECORD, "pyproject.toml"}  # these name the project
TREE: Tree = files_of(ROOT, "HEAD") if shutil.which("git") and (ROOT / ".git").exists() else {}
SYSTEMS = sorted(records(TREE))
ORIGINS = [*SYSTEMS, *sorted({name.partition(".")[0] for name in SYSTEMS})]

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This repository as it stands, committed."""
    root = tmp_path_factory.mktemp("source")
    for name in git(ROOT, "ls-files", "-co", "--exclude-standard").decode().splitlines():
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "--all")
    git(root, "-c", "user.name=T", "-c", "user.email=t@localhost", "commit", "--quiet", "--no-verify", "-m", "as it is")
    return root


def contents(source: Path, origin: str) -> dict[str, bytes]:
    """What a clone is made of, whatever it is called."""
    tree = files_of(source, commit_of(source))
    made = render(tree, Template("", "", origin, "x"))
    return {name: file.content for name, file in made.items() if name not in ABOUT - {"pyproject.toml"}}


def environment(home: Path) -> dict[str, str]:
    """That of a stranger: no settings, no data, nothing of this checkout on the path, no index to install from."""
    foreign = ("ESPALIER_", "PYTEST_", "PYTHONPATH", "MAKE", "MFLAGS", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}  # pip reads the second as a flag: 0 sets it
    return kept | offline | {"ESPALIER_HOME": str(home), "ESPALIER_OFFLINE": "1", "ESPALIER_DATA_MIRROR": ""}


def run(command: list[str], project: Path, variables: dict[str, str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=project, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def test_there_are_some() -> None:
    assert not TREE or SYSTEMS


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_clone_installs_demonstrates_serves_and_passes_its_tests(origin: str, source: Path, tmp_path: Path) -> None:
    same = next(other for other in ORIGINS if contents(source, other) == contents(source, origin))
    if same != origin:
        pytest.skip(f"holds the same files as {same}")
    project, variables = tmp_path / "acme-clone", environment(tmp_path / "home")
    run(
        [sys.executable, "-m", "common", "new", str(project), "--from", origin, "--yes"],
        tmp_path,
        variables | {"PYTHONPATH": str(source)},
    )
    venv, vertical = tmp_path / "venv", origin.partition(".")[0]
    make = ["make", f"VENV={venv}"]
    run([*make, f"{venv}/bin/python"], project, variables)
    # Python 3.11 brings a setuptools that is too old for this project.
    run([f"{venv}/bin/python", "-m", "pip", "uninstall", "--yes", "setuptools"], project, variables)
    linked = link(venv, [*asked_of(project, [vertical]), Requirement("setuptools")])
    said = run([*make, "demo", "ARGS=--once --port 0"], project, variables)
    systems = [name for name in SYSTEMS if origin in (name, name.partition(".")[0])]
    for name in systems:
        assert f"/v1/{name.partition('.')[2]}/predict" in said
    installed = run([str(venv / "bin" / "python"), "-m", "pip", "list", "--format=json"], project, variables)
    names = {normal(package["name"]) for package in json.loads(installed[: installed.rindex("]") + 1])}
    assert names == linked | {"acme-clone", "pip"}
    listed = run([str(venv / "bin" / "espalier"), "list", "--json"], project, variables)
    assert {row["name"] for row in json.loads(listed)} >= set(systems)
    assert not [row for row in json.loads(listed) if "error" in row]
    # The whole of its suite takes minutes; these are its own tests but the slow ones, the suite of the house, and how
    # it is packed. Those of several systems run in the clone of each.
    link(venv, asked_of(project, [vertical, "dev"]))
    own = [f"tests/{name.replace('.', '/')}" for name in systems if len(systems) == 1]
    chosen = [*(path for path in own if (project / path).is_dir()), "tests/conformance", "tests/packaging"]
    tested = run([*make, "test", f"ARGS={' '.join(chosen)} -q -m 'not slow'"], project, variables)
    assert " passed" in tested
    assert " failed" not in tested
    run([str(venv / "bin" / "python"), "-m", "common.evaluation.tables", "--check"], project, variables)
    run([str(venv / "bin" / "ruff"), "check"], project, variables)
