from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # so that "guarded" can be imported in every import mode

from guarded import Issuer, Service


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


@pytest.fixture
def issuer() -> Issuer:
    issuer = Issuer()
    issuer.add("ES256", "one")
    return issuer
