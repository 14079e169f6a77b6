from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from common.evaluation.stability import reference_histogram
from common.monitoring.check import check_window
from common.monitoring.report import MonitorPolicy
from common.monitoring.run import with_ranges

Reference = dict[str, dict[str, Any]]
Records = Callable[..., list[dict[str, Any]]]


def quality(reference: Reference, rows: Any, **policy: Any) -> set[tuple[str, str]]:
    report = check_window(reference, rows, MonitorPolicy(**policy))
    return {(a.kind, a.field) for a in report.alarms if a.kind not in ("input_drift", "prediction_drift")}


def test_the_same_population_is_fine(reference: Reference, records: Records) -> None:
    assert check_window(reference, records(1000)).alarms == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"amount": np.where(np.arange(500) % 5, 1000.0, np.nan)}, ("missing", "amount")),
        ({"amount": np.where(np.arange(500) % 20, np.linspace(400, 4000, 500), 1e9)}, ("out_of_range", "amount")),
        ({"amount": np.where(np.arange(500) % 20, np.linspace(400, 4000, 500), -1.0)}, ("out_of_range", "amount")),
        ({"kind": np.where(np.arange(500) % 20, "a", "new")}, ("unseen", "kind")),
        ({"flag": np.where(np.arange(500) % 20, 1.0, 7.0)}, ("unseen", "flag")),
        ({"amount": np.full(500, 1000.0)}, ("constant", "amount")),
        ({"kind": np.full(500, "b")}, ("constant", "kind")),
    ],
    ids=["missing", "above", "below", "category", "code", "constant number", "constant category"],
)
def test_each_fault_has_its_alarm(
    reference: Reference, records: Records, change: dict[str, Any], expected: tuple[str, str]
) -> None:
    found = quality(reference, records(500, **change))
    assert expected in found
    assert {field for _, field in found} == {expected[1]}


def test_a_column_that_is_gone_is_missing(reference: Reference, records: Records) -> None:
    rows = [{name: value for name, value in row.items() if name != "amount"} for row in records(300)]
    assert quality(reference, rows) == {("missing", "amount")}
    assert quality(reference, rows, skip=("amount",)) == set()


def test_large_but_by_chance_is_no_alarm(reference: Reference, records: Records) -> None:
    # 3 of 50 are above the limit of 1 %, but the rows are too few to judge; 12 of 50 are below 10 % + 5 % + luck
    few = records(50, kind=np.where(np.arange(50) < 3, "new", "a"))
    assert not check_window(reference, few).judged
    assert quality(reference, few) == set()
    small = records(50, flag=np.where(np.arange(50) < 9, np.nan, np.arange(50) % 2))
    assert quality(reference, small, min_rows=20) == set()


def test_rare_levels_are_not_unseen() -> None:
    ids = [f"id{i}" for i in range(1000)]
    assert quality({"id": reference_histogram(ids)}, {"id": [f"other{i}" for i in range(500)]}) == set()


def test_a_field_that_was_constant_may_stay_so() -> None:
    reference = {"site": reference_histogram(["A"] * 400)}
    assert quality(reference, {"site": ["A"] * 400}) == set()
    assert quality(reference, {"site": ["B"] * 400}) == {("unseen", "site")}


def test_ranges_hold_their_rate() -> None:
    """New rows outside what 300 training rows spanned: allowed by chance, and limits at zero."""
    generator, alarmed = np.random.default_rng(3), 0
    for _ in range(200):
        before = generator.normal(size=300)
        reference = {"x": {**reference_histogram(before), "range": [before.min(), before.max()]}}
        alarmed += bool(quality(reference, {"x": generator.normal(size=600)}, out_of_range=0, alpha=0.05))
    assert alarmed <= binom.ppf(0.999, 200, 0.05)


def test_the_schema_lends_its_bounds(reference: Reference) -> None:
    del reference["amount"]["range"]
    schema = {
        "properties": {
            "amount": {"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}]},
            "kind": {"maximum": 3},
        }
    }
    ranged = with_ranges(reference, schema)
    assert ranged["amount"]["range"] == [0, None]
    assert "range" not in ranged["kind"]
    assert "range" not in reference["amount"]
    amounts = np.where(np.arange(400) % 10, np.linspace(400, 4000, 400), -1.0)
    assert ("out_of_range", "amount") in quality(ranged, {**dict.fromkeys(ranged, [None] * 400), "amount": amounts})
