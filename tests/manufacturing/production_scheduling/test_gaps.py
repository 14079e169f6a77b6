from __future__ import annotations

import pytest

from manufacturing.production_scheduling import gaps
from manufacturing.production_scheduling.gaps import measure_all, run


def test_reports_side_by_side_and_resumed(real_data, monkeypatch):
    some = {"ft06", "la01", "mk01", "ta01"}
    reports = measure_all(list(gaps.PROTOCOLS), "sample", seconds=2, only=some.__contains__)
    assert [(one.dataset, one.protocol) for one in reports] == [
        ("jobshop-classic", "2s"),
        ("fjsp-brandimarte", "2s"),
        ("taillard", "2s"),
    ]
    classic, flexible, taillard = reports
    assert classic.metrics["gap"].value >= 0
    assert classic.metrics["gap"].value <= classic.floor["gap"]
    assert {one.group for one in classic.slices} == {"ft06", "la01"}
    assert "gap" in flexible.baselines["CP-SAT as it comes"]
    assert "gap" not in taillard.metrics
    assert [one.group for one in taillard.slices] == ["ta01"]
    # A second run takes what is kept.
    monkeypatch.setattr(gaps, "solve", lambda *args, **kwargs: pytest.fail("solved again"))
    again = measure_all(list(gaps.PROTOCOLS), "sample", seconds=2, only=some.__contains__)
    assert [one.metrics for one in again] == [one.metrics for one in reports]
    with pytest.raises(pytest.fail.Exception, match="solved again"):
        run("jobshop-classic", "ft06", "ours", 3, 2)
