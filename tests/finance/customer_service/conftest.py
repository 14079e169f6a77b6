from __future__ import annotations

import sys
from pathlib import Path

import pytest

from common.bundle import Bundle
from common.config import settings
from finance.customer_service.config import Config
from finance.customer_service.serve import CustomerServicePredictor
from finance.customer_service.train import train

sys.path.insert(0, str(Path(__file__).parent))  # so that "talk" can be imported in every import mode


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of the preset sample."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("ESPALIER_HOME", str(tmp_path_factory.mktemp("home")))
        settings.cache_clear()
        bundle = train(Config())
    settings.cache_clear()
    return bundle


@pytest.fixture(scope="session")
def predictor(trained: Bundle) -> CustomerServicePredictor:
    return CustomerServicePredictor.load(trained)
