from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.config import settings


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """`machine(OFFLINE="true")`: an empty folder of models and an empty hub cache, and other settings on demand."""

    def change(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"ESPALIER_{name}", str(value))
        settings.cache_clear()

    monkeypatch.delenv("ESPALIER_OFFLINE", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    change(MODELS=tmp_path / "models")
    yield change
    settings.cache_clear()


# Read before the fixture above changes the environment.
MODELS = Path(os.environ.get("ESPALIER_MODELS") or Path(__file__).parents[4] / "shared" / "models")


@pytest.fixture
def published_models() -> Path:
    """The folder of published backbones, or skip."""
    if not (MODELS / "mobilenet-v1-1.0-224").is_dir():
        pytest.skip("published backbones: neither ESPALIER_MODELS nor ../shared/models has mobilenet-v1-1.0-224")
    return MODELS
