"""The folder `datasets/` at the root must not pass for Hugging Face's package, which transformers looks for."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_an_extra_with_transformers_has_datasets_too() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for extra, needs in extras.items():
        names = {need.split(">")[0] for need in needs}
        assert "transformers" not in names or "datasets" in names, extra


def test_the_folder_is_no_package() -> None:
    assert not list((ROOT / "datasets").rglob("*.py"))


@pytest.mark.skipif(not find_spec("transformers"), reason="the extra `text` is not installed")
def test_at_the_root_the_package_is_found_and_not_the_folder() -> None:
    code = "import datasets; print(datasets.Dataset.__module__)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("datasets.")
