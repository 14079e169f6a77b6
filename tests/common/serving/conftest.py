from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # so that "toy_system:Adder" can be imported in every import mode

from fastapi.testclient import TestClient

import common.system
from common.config import settings
from common.serving.app import create_app


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The toy systems as if installed, and an empty home."""
    entries = [
        EntryPoint("toy.adder", "toy_system:SYSTEM", "espalier.systems"),
        EntryPoint("toy.other", "toy_system:OTHER", "espalier.systems"),
    ]
    monkeypatch.setattr(common.system, "entry_points", lambda group: entries)
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def client() -> Iterator[TestClient]:
    """A service of one ready toy predictor."""
    from toy_system import SYSTEM, Adder

    with TestClient(create_app("toy", systems=[SYSTEM], predictors={"toy.adder": Adder(1)})) as client:
        yield client


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real service; whatever the tests of a module did to it, it has neither failed nor logged a traceback."""
    from raw_service import Service

    service = Service(tmp_path_factory.mktemp("hostile"))
    yield service
    service.process.terminate()
    service.process.wait(30)
    assert "Traceback" not in service.log()
    assert '"status": 500' not in service.log()
