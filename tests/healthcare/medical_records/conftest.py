from __future__ import annotations

import pytest

from common.bundle import Bundle
from common.config import settings
from healthcare.medical_records.config import Config
from healthcare.medical_records.model import RecordReader
from healthcare.medical_records.train import train


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
def reader(trained: Bundle) -> RecordReader:
    return RecordReader.load(trained)
