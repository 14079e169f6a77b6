from __future__ import annotations

import sys
from pathlib import Path

import pytest

from common.config import build_config, settings
from finance.fraud_detection.config import PRESETS, Config, SequenceSettings
from finance.fraud_detection.train import train

sys.path.insert(0, str(Path(__file__).parent))  # so that "streams" can be imported in every import mode


@pytest.fixture
def real_data(mirror_of, tmp_path, monkeypatch):
    """Use the mirror of published data, or skip."""
    for name in ("OFFLINE", "TRACKING_URI", "SIGNING_KEY", "VERIFY_KEY"):
        monkeypatch.delenv(f"ESPALIER_{name}", raising=False)
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    monkeypatch.setenv("ESPALIER_DATA_MIRROR", str(mirror_of("fraud-sffsd")))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(scope="session")
def config():
    return build_config(Config, PRESETS, "sample", [])


@pytest.fixture(scope="session")
def bundle(config, tmp_path_factory):
    """Trained on a small simulated town."""
    return _trained(config, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def sequence_bundle(config, tmp_path_factory):
    """The same town, and a network that reads sequences."""
    short = SequenceSettings(steps=8, epochs=2)
    changed = config.model_copy(update={"models": ("sequence",), "sequence": short})
    return _trained(changed, tmp_path_factory.mktemp("home"))


def _trained(config, home):
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("DATABASE_URL", "REDIS_URL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("ESPALIER_HOME", str(home))
        settings.cache_clear()
        made = train(config)
    settings.cache_clear()
    return made
