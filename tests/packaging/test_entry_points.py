"""A plug-in that cannot be used is listed with its error and takes nothing else down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.bundle.card import render_card
from common.system import System, discover

ROOT = Path(__file__).parents[2]
TOLD = ("version", "created", "commit", "seed")

PLUGIN = """
from common.system import System

SYSTEM = System("garden.pruning", "Prunes.", "regression", "minimal", (), ("shears",), predictor="no_such_package:P")
"""
ENTRIES = {
    "garden.absent": ("no_such_module:SYSTEM", "ModuleNotFoundError: No module named 'no_such_module'"),
    "garden.attribute": ("garden:NOTHING", "AttributeError: module 'garden' has no attribute 'NOTHING'"),
    "garden.crash": ("garden_crash:SYSTEM", "ZeroDivisionError: division by zero"),
    "garden.misnamed": ("garden:SYSTEM", "registered as 'garden.misnamed' but calls itself 'garden.pruning'"),
    "garden.type": ("garden:PLUGIN", "garden:PLUGIN is a str, expected a System"),
}


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like an installed distribution with one good and five bad entry points."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "garden.py").write_text(f"{PLUGIN}\nPLUGIN = 'SYSTEM'\n")
    (folder / "garden_crash.py").write_text("SYSTEM = 1 / 0\n")
    info = folder / "garden-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: garden\nVersion: 1.0\n")
    lines = [f"{name} = {target}" for name, (target, _) in ENTRIES.items()]
    text = "\n".join(["[espalier.systems]", "garden.pruning = garden:SYSTEM", *lines])
    (info / "entry_points.txt").write_text(text)
    return folder


def espalier(plugins: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(plugins), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "common", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, check=False)


def test_list_shows_the_error_of_each_broken_entry_and_all_the_others(plugins: Path) -> None:
    run = espalier(plugins, "list")
    assert (run.returncode, run.stderr) == (0, "")
    for name, (_, error) in ENTRIES.items():
        assert f"{name}  BROKEN: {error}" in run.stdout
    assert "garden.pruning  Prunes." in run.stdout
    ours = json.loads(espalier(plugins, "list", "--json").stdout)
    # Whoever deleted a vertical sees it as broken until he installs again.
    assert {row["name"]: row["error"] for row in ours if "error" in row and row["name"].startswith("garden.")} == {
        name: error for name, (_, error) in ENTRIES.items()
    }
    working = [row["name"] for row in ours if "error" not in row]
    assert "garden.pruning" in working
    assert working == sorted(working)


def test_a_name_that_is_taken_goes_to_who_had_it_and_the_other_is_listed_as_broken(
    plugins: Path, tmp_path: Path
) -> None:
    """A system's own module has its name before all others; then the alphabet of packages decides."""
    ours = next((s.name for s in discover().values() if isinstance(s, System) and s.config.startswith(s.name)), None)
    taken = ["garden.pruning", *([ours] if ours else [])]
    for package in ("a-thief", "zorro"):
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        claims = taken[1:] if package == "a-thief" else taken
        lines = "".join(f"{name} = {package.replace('-', '_')}:SYSTEM\n" for name in claims)
        (info / "entry_points.txt").write_text(f"[espalier.systems]\n{lines}")
    if ours:
        info = tmp_path / "second_clone-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: second-clone\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[espalier.systems]\n{ours} = {ours}:SYSTEM\n")
    path = os.pathsep.join([str(tmp_path), str(plugins)])
    command = [sys.executable, "-m", "common", "list", "--json"]
    variables = os.environ | {"PYTHONPATH": path}
    listed = subprocess.run(command, capture_output=True, text=True, env=variables, check=True).stdout
    found = {row["name"]: row.get("error") for row in json.loads(listed)}
    assert found["garden.pruning"] is None
    assert found["garden.pruning of zorro"] == "the name 'garden.pruning' is taken by another package"
    if ours:  # also when two clones of one system are installed: that is one system
        assert found[ours] is None
        assert f"{ours} of second-clone" not in found
        assert found[f"{ours} of a-thief"] == f"the name {ours!r} is taken by another package"


def test_a_plug_in_that_ends_the_process_on_import_is_broken_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "leaver.py").write_text("raise SystemExit(3)\n")
    info = tmp_path / "leaver-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: leaver\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[espalier.systems]\nleaver.now = leaver:SYSTEM\n")
    run = espalier(tmp_path, "list")
    assert run.returncode == 0
    assert "leaver.now  BROKEN: SystemExit: 3\n" in run.stdout


def test_a_broken_system_is_refused_with_its_error(plugins: Path) -> None:
    run = espalier(plugins, "train", "garden.crash")
    assert run.returncode == 2
    assert run.stderr == (
        "espalier: garden.crash: this system cannot be imported (ZeroDivisionError: division by zero).\n"
    )


def test_an_extra_that_is_not_installed_is_named_when_its_room_is_used(plugins: Path) -> None:
    code = "from common.system import find; find('garden.pruning').load('predictor')"
    path = os.pathsep.join(filter(None, [str(plugins), os.environ.get("PYTHONPATH", "")]))
    environment = os.environ | {"PYTHONPATH": path}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert run.stderr.splitlines()[-1] == (
        "common.errors.SystemUnavailable: garden.pruning: the package 'no_such_package' is not installed; "
        "install the project of this system with its extras shears."
    )


def test_bench_all_skips_what_has_no_benchmark_and_says_so(plugins: Path, tmp_path: Path) -> None:
    """In an environment of this one plug-in, so that no real benchmark runs."""
    code = (
        "import common.system as s, sys; from common.cli import main; found = s.entry_points\n"
        "s.entry_points = lambda group: [e for e in found(group=group) if e.name.startswith('garden.')]\n"
        "sys.argv = ['espalier', 'bench', *sys.argv[1:]]; main()"
    )
    path = os.pathsep.join(filter(None, [str(plugins), str(Path.cwd()), os.environ.get("PYTHONPATH", "")]))
    environment = os.environ | {"PYTHONPATH": path}

    def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)

    run = bench("all", "--json")
    assert (run.returncode, json.loads(run.stdout)) == (0, [])
    assert "garden.pruning: skipped, this system has no bench" in run.stderr
    assert "garden.crash: skipped" in run.stderr
    assert not list(tmp_path.iterdir())
    one = bench("garden.pruning")
    assert (one.returncode, one.stderr) == (2, "espalier: garden.pruning: this system has no bench.\n")


def test_every_system_of_the_house_says_what_it_is_for_and_what_it_cannot_do() -> None:
    ours = [s for s in discover().values() if isinstance(s, System) and (ROOT / s.name.replace(".", "/")).is_dir()]
    for system in ours:
        card = render_card(system, {"simulated": False, "libraries": {}, **dict.fromkeys(TOLD, "x")}, {}, {})
        assert f"## Intended use\n{system.intended_use}\n\n## Limits\n- {system.limits[0]}\n" in card, system.name
        assert len(system.limits) >= 2
