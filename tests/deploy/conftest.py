from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # so that "artefacts" can be imported in every import mode

from artefacts import ROOT

QUICK = ["rows=800", "challenger.bags=1", "challenger.boosting.rounds=20", "challenger.library=lightgbm"]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quickly trained bundle of simulated applicants, in the `bundles` folder of a home."""
    if not (ROOT / "finance").is_dir():
        pytest.skip("serves finance.credit_scoring")
    home = tmp_path_factory.mktemp("trained")
    command = [sys.executable, "-m", "common", "train", "finance.credit_scoring", "--preset", "sample", *QUICK]
    environment = os.environ | {"ESPALIER_HOME": str(home), "ESPALIER_TRACKING_URI": ""}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert run.returncode == 0, run.stderr
    return Path(run.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def asked(bundle: Path) -> list[dict[str, Any]]:
    """Golden requests of the bundle."""
    return [json.loads(line)["request"] for line in (bundle / "examples.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes put in here are ended after the module."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
    for process in processes:
        process.communicate(timeout=30)
