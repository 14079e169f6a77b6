from __future__ import annotations

from pathlib import Path

import pytest

from common.config import build_config, settings
from manufacturing.visual_inspection.config import PRESETS, Config
from manufacturing.visual_inspection.data import load
from manufacturing.visual_inspection.serve import InspectionPredictor
from manufacturing.visual_inspection.train import train

MIRROR = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(scope="session")
def config() -> Config:
    return build_config(Config, PRESETS, "sample", [])


@pytest.fixture(scope="session")
def pictures(config):
    return load(config)


@pytest.fixture(scope="session")
def split(config, pictures):
    return pictures.split(config.protocol, config.seed)


@pytest.fixture(scope="session")
def bundle(config, tmp_path_factory):
    """Trained on simulated tiles."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("ESPALIER_HOME", str(tmp_path_factory.mktemp("home")))
        settings.cache_clear()
        made = train(config)
    settings.cache_clear()
    return made


@pytest.fixture(scope="session")
def predictor(bundle) -> InspectionPredictor:
    return InspectionPredictor.load(bundle)
