"""Every registered system passes every check of the suite."""

from __future__ import annotations

import pytest

from common.system import System, discover
from common.testing import CHECKS, Subject

SYSTEMS = [system for system in discover().values() if isinstance(system, System)]


@pytest.fixture(scope="module", params=SYSTEMS, ids=lambda system: system.name)
def subject(request):
    with Subject(request.param) as subject:
        yield subject


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_conforms(subject, check):
    check(subject)
