from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # so that "garden:train" can be imported in every import mode

import common.system
from common.config import settings


@pytest.fixture
def garden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The two systems of `garden.py` as if they alone were installed, and an empty home."""
    entries = [
        EntryPoint(f"garden.{name}", f"garden:{attribute}", "espalier.systems")
        for name, attribute in (("growth", "SYSTEM"), ("wild", "WILD"))
    ]
    monkeypatch.setattr(common.system, "entry_points", lambda group: entries)
    for name in ("TRACKING_URI", "SIGNING_KEY", "VERIFY_KEY", "DATA_MIRROR", "OFFLINE"):
        monkeypatch.delenv(f"ESPALIER_{name}", raising=False)
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield
    settings.cache_clear()
