"""The wheel: what is in it, and that it works far from a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TREES = tuple(name for name in ("common", "finance", "manufacturing", "healthcare") if (ROOT / name).is_dir())
PLAIN = ("pyproject.toml", "README.md", "LICENSE")


pytest.importorskip("setuptools", "77", reason="building needs setuptools 77 (the dev extra)")

needs_a_system = pytest.mark.skipif(not (ROOT / "finance").is_dir(), reason="trains finance.credit_scoring")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built offline from a copy of the tree, so that the checkout keeps clean."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in TREES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    # A build must take the packages it lists and nothing that happens to lie beside them.
    shutil.copytree(ROOT / "tests" / "packaging", source / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in PLAIN:
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    run = subprocess.run([*command, "-w", str(out), str(source)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    [path] = out.iterdir()
    return path


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel unpacked: on `PYTHONPATH` it comes before the checkout."""
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


@pytest.fixture
def outside(site: Path, tmp_path: Path):
    """Run `espalier` from the unpacked wheel in an empty folder, without data."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ESPALIER_")}
    environment |= {"PYTHONPATH": str(site), "ESPALIER_HOME": str(tmp_path / "home"), "ESPALIER_OFFLINE": "1"}

    def run(*arguments: str, module: str = "common") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)

    return run


def test_the_wheel_holds_the_packages_and_their_data_and_nothing_else(wheel: Path) -> None:
    files = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in files if ".dist-info/" not in name} == set(TREES)
    kinds = {".py", ".j2", ".css", ".toml"}
    kinds |= {path.suffix for name in TREES for path in (ROOT / name).rglob("*.tsv")}
    if any(path for name in TREES for path in (ROOT / name).glob("*/*.html")):
        kinds |= {".html", ".js"}
    if any(path for name in TREES for path in (ROOT / name).glob("*/documents/*.md")):
        kinds |= {".md"}
    assert {Path(name).suffix for name in files if ".dist-info/" not in name} == kinds
    assert {"common/evaluation/report.html.j2", "common/console/words.zh.toml"} <= set(files)
    in_tree = {str(path.relative_to(ROOT)) for name in TREES for path in (ROOT / name).rglob("*.py")}
    assert in_tree <= set(files)


def test_the_wheel_declares_the_command_and_the_systems_and_cannot_be_uploaded(site: Path) -> None:
    [info] = site.glob("*.dist-info")
    entries = (info / "entry_points.txt").read_text()
    assert "espalier = common.cli:main" in entries
    for name in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["espalier.systems"]:
        assert f"{name} = {name}:SYSTEM" in entries
    assert "Private :: Do Not Upload" in (info / "METADATA").read_text()


@needs_a_system
def test_it_lists_and_trains_outside_a_checkout(outside, tmp_path: Path) -> None:
    listed = outside("list")
    assert listed.returncode == 0, listed.stderr
    assert "finance.credit_scoring" in listed.stdout

    quick = ["rows=600", "challenger.bags=1", "challenger.boosting.rounds=20", "challenger.library=lightgbm"]
    trained = outside("train", "finance.credit_scoring", "--preset", "sample", *quick)
    assert trained.returncode == 0, trained.stderr
    bundle = Path(trained.stdout.splitlines()[-1])
    assert bundle.is_relative_to(tmp_path / "home")
    assert (bundle / "CARD.md").is_file()


@needs_a_system
def test_published_data_needs_a_project_and_one_sentence_says_so(outside, tmp_path: Path) -> None:
    listed = outside("data", "list")
    assert (listed.returncode, listed.stdout) == (0, "")
    assert listed.stderr == f"no datasets/ folder with cards in or above {tmp_path}\n"
    for command in (("data", "get", "credit-german"), ("train", "finance.credit_scoring")):
        run = outside(*command)
        assert run.returncode == 1
        [sentence] = [line for line in run.stderr.splitlines() if line.startswith("espalier: ")]
        assert "credit-german: no data set cards found" in sentence
        assert f"got working folder {tmp_path}, expected a project with datasets/" in sentence
        assert "run this inside a checkout or a clone" in sentence
        assert "Traceback" not in run.stderr
