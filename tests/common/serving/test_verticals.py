"""Each vertical there is has a service that starts, also one without any system yet."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from common.config import settings
from common.system import System, discover

ROOT = Path(__file__).parents[3]
VERTICALS = sorted(path.parent.name for path in ROOT.glob("*/service.py"))


@pytest.fixture(autouse=True)
def nothing_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    settings.cache_clear()


def test_there_are_some() -> None:
    assert VERTICALS


@pytest.mark.parametrize("vertical", VERTICALS)
def test_a_service_starts_and_says_what_it_has(vertical: str) -> None:
    names = sorted(s.name for s in discover().values() if isinstance(s, System) and s.vertical == vertical)
    with TestClient(import_module(f"{vertical}.service").app) as client:
        assert client.get("/health/live").status_code == 200
        ready = client.get("/health/ready")
        assert ready.status_code == 503
        assert sorted(ready.json()["systems"]) == names
        assert sorted(card["system"] for card in client.get("/v1/models").json()) == names
        for path in ("/", "/docs", "/openapi.json", "/metrics", "/v2", "/v1/monitor", "/v1/deployments"):
            assert client.get(path).status_code == 200, path
        if not names:
            assert "no system yet" in client.get("/").text
