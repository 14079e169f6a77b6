"""Every registered system passes every check of the suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from common.sandbox import Subject
from common.system import System, discover
from common.testing import CHECKS, Check

ROOT = Path(__file__).parents[2]
# A clone may have deleted a vertical that is still installed; what is broken for another reason fails here.
SYSTEMS = [s for s in discover().values() if isinstance(s, System) or (ROOT / s.name.partition(".")[0]).is_dir()]


@pytest.fixture(scope="module", params=SYSTEMS, ids=lambda system: system.name)
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    assert isinstance(request.param, System), request.param.error
    with Subject(request.param) as subject:
        yield subject


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_conforms(subject: Subject, check: Check) -> None:
    check(subject)
