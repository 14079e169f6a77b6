"""The benchmark of clones: its table stands in the page, and its measure of a clone counts what is there."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[2] / "benchmarks" / "clone"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    specification = importlib.util.spec_from_file_location("benchmark_of_clones", BENCH / "run.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_table_stands_in_the_readme_and_the_goals_are_met(bench: ModuleType) -> None:
    found = json.loads((BENCH / "results.json").read_text())
    assert bench.table(found) in (BENCH / "README.md").read_text()
    for measured in found["clones"].values():
        assert measured["new_s"] <= 5
        assert measured.get("trained_evaluated_served_s", 0) <= 60
