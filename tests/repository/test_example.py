"""The example plug-in: installed from its folder, it is listed, checked, trained, benchmarked, demonstrated, served."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "agriculture"
NAME = "agriculture.irrigation"


pytest.importorskip("setuptools", "77", reason="building needs setuptools 77 (the dev extra)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plug-in, installed by pip into a folder."""
    site, copy = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("copy") / "plugin"
    subprocess.run(["cp", "-r", str(EXAMPLE), str(copy)], check=True)  # a build leaves files behind
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "--target", str(site), str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return site


@pytest.fixture(scope="module")
def espalier(site: Path, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("outside")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("ESPALIER_")}
    variables |= {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "ESPALIER_HOME": str(folder / "home")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "common", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=folder, check=False)
        assert done.returncode == 0, done.stderr
        return done

    return run


def test_it_is_listed_and_conforms(espalier) -> None:
    rows = {row["name"]: row for row in json.loads(espalier("list", "--json").stdout)}
    assert rows[NAME]["presets"] == ["sample", "reference"]
    assert f"{NAME}: 14 checks passed" in espalier("check", NAME).stdout


def test_it_is_benchmarked_with_its_vertical(espalier) -> None:
    [report] = json.loads(espalier("bench", "agriculture", "--json").stdout)
    assert (report["system"], report["simulated"]) == (NAME, True)
    assert report["metrics"]["auc"]["low"] > report["floor"]["auc"]


def test_it_is_trained_evaluated_served_and_asked(espalier) -> None:
    bundle = Path(espalier("train", NAME).stdout.splitlines()[-1])
    evaluated = espalier("evaluate", str(bundle))
    assert evaluated.stdout.endswith("report.html\n")
    assert "met: valid_auc is " in evaluated.stderr
    said = espalier("demo", "agriculture", "--once", "--port", "0")
    assert "/v1/irrigation/predict" in said.stdout + said.stderr
    assert "'simulated': True" in said.stdout + said.stderr
