from __future__ import annotations

import numpy as np
import pytest

from common.config import build_config
from common.errors import DataError
from common.evaluation.page import write_page
from finance.fraud_detection.bench import bench
from finance.fraud_detection.config import PRESETS, Config
from finance.fraud_detection.data import load
from finance.fraud_detection.evaluate import evaluate
from finance.fraud_detection.prequential import moment_of


@pytest.fixture(scope="module")
def evaluated(bundle):
    return evaluate(bundle)


def test_the_report_stands_beside_floor_and_baselines(evaluated, config):
    report, _ = evaluated
    assert report.simulated
    assert report.protocol == "baseline-split"
    for name in ("auc", "ap", "cp10"):
        metric = report.metrics[name]
        assert metric.low <= metric.value <= metric.high
        assert metric.low > report.floor[name]
    assert report.metrics["ap"].value > report.baselines["amount alone"]["ap"]
    assert {"isolation forest, no labels", "XGBoost, Handbook's features"} <= report.baselines.keys()
    events = load(config)
    share = events.fraud[moment_of(config, events).test].mean()
    assert report.floor["ap"] == pytest.approx(share)
    assert {one.group for one in report.slices} == {"large amount", "compromised terminal", "stolen card"}


def test_every_report_on_simulated_data_says_what_real_data_gave(evaluated, config, capsys, tmp_path):
    report, sections = evaluated
    page = write_page(tmp_path / "report.html", report, sections).read_text()
    assert "0.095" in page
    bench(config, "sample")
    assert "0.095" in capsys.readouterr().err


def test_the_alert_budget_of_past_moments_holds_about(evaluated):
    _, sections = evaluated
    table = {row["what"]: row["value"] for row in sections[1].table}
    assert float(table["alerts a day, with the threshold of past moments"]) < 20
    assert float(table["saved a day, reviews at 5 each"].replace(",", "")) > 0


def test_a_bundle_of_other_data_is_refused(bundle, monkeypatch):
    other = "finance.fraud_detection.evaluate.load"
    monkeypatch.setattr(other, lambda config: load(config.model_copy(update={"seed": 1})))
    with pytest.raises(DataError, match="the test part is not the one that training kept closed"):
        evaluate(bundle)


def test_the_sample_benchmark(config):
    (report,) = bench(build_config(Config, PRESETS, "sample", ['models=["logistic"]']), "sample")
    assert report.preset == "sample"
    assert np.isfinite(report.metrics["cp10"].value)
