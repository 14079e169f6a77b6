"""What starts fast stays fast: the light verbs import nothing heavy (modules are looked at, not the clock)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = [
    "torch",
    "pandas",
    "mlflow",
    "sklearn",
    "scipy",
    "numpy",
    "pyarrow",
    "xgboost",
    "lightgbm",
    "matplotlib",
    "optuna",
    "fastapi",
    "gradio",
    "pooch",
]


def imported(code: str) -> list[str]:
    """Which heavy packages are in `sys.modules` after `code`."""
    probe = f"import json, sys\n{code}\nprint(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(run.stdout.splitlines()[-1])
    return found


def of_command(*arguments: str) -> str:
    return f"sys.argv = {['espalier', *arguments]}\nfrom common.cli import main\ntry: main()\nexcept SystemExit: pass"


def test_the_probe_sees_a_heavy_import() -> None:
    assert {"sklearn", "numpy"} <= set(imported("import sklearn"))


@pytest.mark.parametrize(
    "code",
    [
        "import common",
        "import common.cli, common.system, common.config, common.errors",
        of_command("--help"),
        of_command("train", "--help"),
        of_command("list"),
        of_command("list", "--json"),
        of_command("train", "no.such"),
    ],
)
def test_light_verbs_import_nothing_heavy(code: str) -> None:
    assert imported(code) == []
