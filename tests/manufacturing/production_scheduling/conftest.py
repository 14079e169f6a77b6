from __future__ import annotations

import sys
from pathlib import Path

import pytest

from common.config import settings
from manufacturing.production_scheduling import data

sys.path.insert(0, str(Path(__file__).parent))  # so that "plants" can be imported in every import mode


@pytest.fixture
def real_data(mirror_of, tmp_path, monkeypatch):
    """Use the mirror of published data, or skip."""
    monkeypatch.delenv("ESPALIER_OFFLINE", raising=False)
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    monkeypatch.setenv("ESPALIER_DATA_MIRROR", str(mirror_of("jobshop-classic")))
    settings.cache_clear()
    data._files.cache_clear()
    data._seeds.cache_clear()
    yield
    settings.cache_clear()
    data._files.cache_clear()
    data._seeds.cache_clear()
