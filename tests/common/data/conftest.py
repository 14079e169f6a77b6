from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from common.config import settings
from common.data import DatasetCard
from common.files import sha256


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """An empty cache, no mirror, and this test's own settings."""
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("ESPALIER_DATA_MIRROR", raising=False)
    monkeypatch.delenv("ESPALIER_OFFLINE", raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def setting(monkeypatch):
    """Change a setting: `setting("DATA_MIRROR", "/mirror")`."""

    def change(name: str, value: object) -> None:
        monkeypatch.setenv(f"ESPALIER_{name}", str(value))
        settings.cache_clear()

    return change


@pytest.fixture
def real_data(mirror_of, setting):
    """Use the mirror of published data, or skip."""
    setting("DATA_MIRROR", mirror_of("credit-german"))


@pytest.fixture
def content() -> bytes:
    """A table of two people."""
    return b"id,age,colour,bad\n1,30,red,0\n2,,blue,1\n"


@pytest.fixture
def people_card(content) -> DatasetCard:
    """The card of `content`; nothing listens at its url."""
    return DatasetCard.model_validate(
        {
            "id": "people",
            "title": "Two people",
            "task": "test",
            "files": [
                {
                    "path": "people.csv",
                    "url": "http://127.0.0.1:9/people.csv",
                    "sha256": sha256(content),
                    "bytes": len(content),
                }
            ],
            "licence": "CC0",
            "redistributable": True,
            "citation": "none",
            "rows": 2,
            "target": "bad",
            "positive": 1,
            "label_counts": {"0": 1, "1": 1},
            "identifier": "id",
            "columns": [
                {"name": "id", "kind": "id"},
                {"name": "age", "kind": "number", "minimum": 18, "maximum": 120, "missing": True},
                {"name": "colour", "kind": "category", "values": ["red", "blue"]},
                {"name": "bad", "kind": "target"},
            ],
        }
    )


@pytest.fixture
def applicants() -> tuple[pd.DataFrame, DatasetCard]:
    """400 applicants, 100 of them bad, as their card describes them; nothing wrong with them."""
    rng = np.random.default_rng(0)
    bad = np.arange(400) % 4 == 0
    frame = pd.DataFrame(
        {
            "id": np.arange(400),
            "income": rng.normal(50, 10, 400) - 5 * bad,
            "job": rng.choice([1, 2, 3], 400),
            "bad": bad.astype(int),
        }
    )
    card = DatasetCard.model_validate(
        {
            "id": "applicants",
            "title": "Applicants",
            "task": "test",
            "files": [{"path": "a.csv", "url": "https://example.org/a.csv", "sha256": "0" * 64, "bytes": 0}],
            "licence": "CC0",
            "redistributable": True,
            "citation": "none",
            "rows": 400,
            "target": "bad",
            "positive": 1,
            "label_counts": {"0": 300, "1": 100},
            "identifier": "id",
            "columns": [
                {"name": "id", "kind": "id"},
                {"name": "income", "kind": "number"},
                {"name": "job", "kind": "category", "values": {"1": "none", "2": "skilled", "3": "manager"}},
                {"name": "bad", "kind": "target"},
            ],
        }
    )
    return frame, card
