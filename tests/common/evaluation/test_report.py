from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from common.evaluation.report import Metric, Report, better, write_json

CONTRACT = {
    "system", "preset", "dataset", "protocol", "simulated", "data_sha256", "metrics", "floor", "baselines",
    "published", "slices", "seconds", "peak_rss_mb", "machine", "commit",
}  # fmt: skip


def test_round_trip_has_exactly_the_keys_of_the_contract(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "reference.json"
    write_json(path, [report])
    (written,) = json.loads(path.read_text())
    assert set(written) == CONTRACT
    assert set(written["metrics"]["auc"]) == {"value", "low", "high", "n"}
    assert set(written["published"][0]) == {"model", "metric", "value", "protocol", "source"}
    assert set(written["seconds"]) == {"data", "train", "evaluate"}
    assert Report.model_validate(written) == report


def test_a_failed_write_leaves_the_old_file(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "reference.json"
    write_json(path, report)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"value": float("nan")})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_metric_is_never_nan() -> None:
    with pytest.raises(ValidationError, match="finite"):
        Metric(value=float("nan"), low=0, high=1, n=3)


def test_unknown_keys_are_refused(report: Report) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Report.model_validate({**report.model_dump(), "accuracy": 0.9})


def test_better_knows_which_way_a_metric_goes() -> None:
    assert better("auc", 0.8, 0.7)
    assert better("ece", 0.01, 0.02)
    assert not better("makespan", 100, 90)
