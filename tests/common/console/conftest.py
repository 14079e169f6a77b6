from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # so that "workshop:Pricer" can be imported in every import mode

import workshop

import common.system
from common.config import settings


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The workshop's systems as if installed, an empty home, no keys."""
    monkeypatch.setattr(common.system, "entry_points", common.system.entry_points)
    workshop.register()
    for name in ("KEYS_FILE", "ENVIRONMENT", "CONSOLE"):
        monkeypatch.delenv(f"ESPALIER_{name}", raising=False)
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()
