"""The OpenAPI of every vertical, fuzzed for a short while; `benchmarks/serving/run.py --only fuzz` takes longer."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("vertical", sorted(path.parent.name for path in ROOT.glob("*/service.py")))
def test_no_request_makes_a_service_fail_or_answer_what_its_openapi_does_not_say(
    vertical: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "serving"))
    from fuzz import fuzz_service

    found = fuzz_service(vertical, tmp_path, cases=15)
    assert found["cases"] > 300
    assert not found["failures"], found["report"]
    assert found["tracebacks"] == 0
    assert found["alive"]
