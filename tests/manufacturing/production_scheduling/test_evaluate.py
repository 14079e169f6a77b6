from __future__ import annotations

import numpy as np
import pytest
from learnt import config, fitted, parts

from common.evaluation.report import better
from manufacturing.production_scheduling import policy_report, risk_report
from manufacturing.production_scheduling.evaluate import calibration_figure, of_quantiles
from manufacturing.production_scheduling.history import load
from manufacturing.production_scheduling.measures import mean_by_group
from manufacturing.production_scheduling.policy import RULES, Policy
from manufacturing.production_scheduling.policy_report import of_policy, on_random_shops, soften
from manufacturing.production_scheduling.risk_report import of_risk
from manufacturing.production_scheduling.train import examples_of, measured, reference_of


def test_the_report_of_quantiles_beats_floor_and_baselines():
    report = of_quantiles(parts(), fitted()[0], "sample")
    assert (report.dataset, report.protocol, report.simulated) == ("shop-floor-simulated", "time-split", True)
    pinball = report.metrics["pinball"]
    assert pinball.high < report.floor["pinball"]
    assert all(better("pinball", pinball.value, row["pinball"]) for row in report.baselines.values())
    coverage = report.metrics["coverage80"]
    assert coverage.low <= coverage.value <= coverage.high
    assert {one.name for one in report.slices} == {"known", "shift"}
    figure = calibration_figure(parts()["test"], fitted()[0])
    assert "Calibration" in figure.get_label()


def test_the_report_of_a_promised_risk(monkeypatch):
    monkeypatch.setattr(risk_report, "SAMPLE_CASES", 3)
    report = of_risk(config(), load(config()), fitted()[0], "sample")
    assert report.protocol == "promised-risk"
    assert report.metrics["risk10"].value < 0.35 < report.floor["risk10"]
    assert report.metrics["risk05"].value <= report.metrics["risk10"].value <= report.metrics["risk30"].value
    assert report.metrics["price"].value > 1
    assert "price" not in report.baselines["median times"]
    assert set(report.baselines) == {"median times", "every operation at the quantile of the plan"}


def test_the_report_of_the_policy(real_data, monkeypatch):
    monkeypatch.setattr(policy_report, "SAMPLES", 12)
    report = of_policy(Policy(RULES["MWKR"]), "reference", 0.0)
    assert (report.dataset, report.protocol, report.simulated) == ("jobshop-classic", "dispatching", False)
    assert report.metrics["gap"].n == 58
    assert report.metrics["gap"].value == pytest.approx(report.baselines["MWKR"]["gap"])
    assert report.baselines["MWKR"]["gap"] < report.baselines["SPT"]["gap"]
    assert report.metrics["gap_best64"].value < report.metrics["gap"].value < report.floor["gap"]
    assert {one.group for one in report.slices} == {"abz", "ft", "la", "orb"}


def test_a_table_of_random_shops():
    rows = on_random_shops(Policy(RULES["SPT"]))
    assert len(rows) == 6
    for row in rows:
        assert row["policy"] == row["SPT"] > "1"
        assert (row["setup"] < "1") == row["shops"].startswith("with setups")


def test_a_rule_is_softened_by_a_scale_alone():
    soft = soften(RULES["SPT"])
    assert np.count_nonzero(soft.linear) == 1
    assert soft.linear[0] < 0


def test_an_interval_draws_whole_groups():
    group = np.repeat(np.arange(20), 50)
    values = np.random.default_rng(0).normal(size=20)[group]
    whole, single = mean_by_group(values, group), mean_by_group(values, np.arange(1000))
    assert whole.value == single.value
    assert whole.high - whole.low > 4 * (single.high - single.low)


def test_what_is_kept_of_a_training():
    found = measured(parts(), fitted()[0])
    assert found["valid_pinball_ratio"] < 0.9
    assert 0.7 < found["valid_coverage80"] < 0.9
    assert set(reference_of(parts()["calibration"])) == {"ratio", "planned", "quantity"}
    examples = examples_of(parts()["train"])
    assert [one.get("risk") for one in examples] == [None, None, None, None, 0.1]
