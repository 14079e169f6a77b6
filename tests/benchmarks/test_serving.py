"""The system of the serving benchmark: served, it answers as its model does, one by one, many and as tensors."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

BENCH = Path(__file__).parents[2] / "benchmarks" / "serving"


def test_it_answers_as_the_model_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    from common.config import settings

    settings.cache_clear()
    import model
    import ours
    import xgboost

    from common.serving.app import create_app

    file = model.train(tmp_path / "model.ubj", trees=5)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "plugin"), *sys.path])
    ours.prepare(tmp_path, file)
    bundle = {ours.SYSTEM.name: tmp_path / "bundles" / ours.SYSTEM.name / "v1"}
    rows = [dict(zip(model.FEATURES, row, strict=True)) for row in np.eye(20).tolist()] * 20
    x = np.array([list(row.values()) for row in rows], np.float32)
    expected = xgboost.Booster(model_file=file).inplace_predict(x).tolist()
    with TestClient(create_app("bench", bundle, systems=[ours.SYSTEM])) as client:
        assert client.post("/v1/boosting/predict", json=rows[0]).json() == {"probability": expected[0], "number": 1}
        many = client.post("/v1/boosting/predict/batch", json={"rows": rows}).json()["rows"]
        assert [row["probability"] for row in many] == expected
        inputs = [
            {"name": name, "datatype": "FP64", "shape": [len(rows)], "data": [row[name] for row in rows]}
            for name in model.FEATURES
        ]
        found = client.post("/v2/models/boosting/infer", json={"inputs": inputs}).json()["outputs"]
        assert found[0]["data"] == expected
    settings.cache_clear()


def test_the_table_stands_in_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import table

    found = json.loads((BENCH / "results.json").read_text())
    assert table.table(found) in (BENCH / "README.md").read_text()
