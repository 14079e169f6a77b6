"""Several findings of which one is true, and several that may be there together: bundle, answers, report, benchmark."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.bundle import load_bundle, newest
from common.config import build_config
from common.tables import score_file
from healthcare.disease_diagnosis import SYSTEM, bench, evaluate
from healthcare.disease_diagnosis.config import PRESETS, Config
from healthcare.disease_diagnosis.knowledge import FINDINGS, FURTHER, HEART, SEVERITY
from healthcare.disease_diagnosis.train import record_of, train_patients


def answers(predictor, data, **more):
    return predictor.predict([predictor.request(**record_of(data, i), **more) for i in range(40)])


def test_grades_are_ranked_with_probabilities_that_add_up_to_one(severity, graded):
    for answer in answers(severity, graded):
        chances = [entry.probability for entry in answer.differential]
        assert {entry.finding for entry in answer.differential} == set(SEVERITY)
        assert chances == sorted(chances, reverse=True)
        assert sum(chances) == pytest.approx(1)
        left = [entry.finding for entry in answer.differential if entry.possible]
        assert answer.decision == "refer" or left == [answer.finding]
        healthy = next(entry.probability for entry in answer.differential if entry.finding == SEVERITY[0])
        assert answer.act == (1 - healthy >= answer.threshold)
        assert answer.also == []
        assert answer.reasons


def test_sets_of_grades_keep_their_promise_at_each_site(severity, graded):
    question = severity.engine.main
    for site in ("cleveland", "elsewhere"):
        part = graded.rows(graded.site == site)
        sets = question.sets(part.columns(), 0.9, part.sex, site)
        assert sets.shape == (len(part), 5)
        # Part of them was trained or calibrated on: this looks for gross errors; test_promise.py has the guarantee.
        assert sets[np.arange(len(part)), part.y].mean() > 0.8
        wider = question.sets(part.columns(), 0.97, part.sex, site)
        assert (wider >= sets).all()
        assert 1 < sets.sum(axis=1).mean() < wider.sum(axis=1).mean()


def test_findings_that_may_be_there_together_have_verdicts_and_promises_of_their_own(bedside, several):
    for answer in answers(bedside, several):
        assert [{entry.finding for entry in one.differential} for one in answer.also] == [
            set(FURTHER[name]) for name in ("exang", "thal")
        ]
        assert {entry.finding for entry in answer.differential} == set(FINDINGS[HEART])
        for one in (answer, *answer.also):
            assert sum(entry.probability for entry in one.differential) == pytest.approx(1)
            assert "cleveland" in one.calibrated_on
    risks = np.array([[1 - p.differential[0].probability for p in (a, *a.also)] for a in answers(bedside, several)])
    assert len(np.unique(risks, axis=1)[0]) == 3  # not one answer three times


def test_nothing_is_promised_for_a_finding_that_nobody_was_examined_for_at_a_site(bedside, several):
    for answer in answers(bedside, several, site="elsewhere"):
        assert "elsewhere" in answer.calibrated_on
        angina, perfusion = answer.also
        assert "elsewhere" in angina.calibrated_on
        assert perfusion.why_referred == "0 labelled patients cannot promise 90%"


def test_a_table_has_a_column_for_each_further_finding(bedside, several, tmp_path):
    several.frame.head(12).to_csv(tmp_path / "in.csv", index=False)
    score_file(bedside, tmp_path / "in.csv", tmp_path / "out.csv", lambda rows, share: None)
    header, first, *_ = (tmp_path / "out.csv").read_text().replace('"', "").splitlines()
    assert header == "probability,decision,finding,angina under exercise,perfusion defect"
    answer = answers(bedside, several)[0]
    chance = {entry.finding: entry.probability for one in (answer, *answer.also) for entry in one.differential}
    told = first.split(",")
    assert float(told[0]) == pytest.approx(chance["coronary artery disease"])
    assert [float(one) for one in told[3:]] == pytest.approx([chance[FURTHER[name][1]] for name in FURTHER])


@pytest.mark.parametrize("preset", ["severity", "findings"])
def test_reports_and_benchmarks_of_several_findings(home, graded, several, preset, monkeypatch):
    data = {"severity": graded, "findings": several}[preset]
    config = build_config(Config, PRESETS, preset, [])
    for room in (evaluate, bench):
        monkeypatch.setattr(room, "load", lambda _: data)
    monkeypatch.setattr(bench, "REPEATS", 1)
    monkeypatch.setattr(bench, "DRAWS", 3)
    monkeypatch.setattr(bench, "RIVALS", {"logistic alone": {"members": ("logistic",)}})
    train_patients(config, data)
    report, sections = evaluate.evaluate(load_bundle(newest(SYSTEM.name)))
    rows = sections[-1].table
    reports = bench.bench(config, preset)
    protocols = [one.protocol for one in reports]
    if preset == "severity":
        assert {"auc", "accuracy", "log_loss", "coverage90", "coverage90_elsewhere"} <= report.metrics.keys()
        assert report.metrics["accuracy"].value > report.floor["accuracy"]
        assert report.metrics["log_loss"].value < report.floor["log_loss"]
        assert [row["centre"] for row in rows] == ["elsewhere"]
        assert {part.group for part in report.slices if part.name == "finding"} <= set(SEVERITY)
        assert protocols == ["cleveland-10x5-severity", "external-elsewhere-severity"]
        assert {"accuracy", "log_loss"} <= reports[0].metrics.keys() & reports[0].baselines[
            "logistic regression"
        ].keys()
        assert {part.group for part in reports[0].slices if part.name == "against the rest"} == set(SEVERITY)
        assert reports[1].metrics["set_size"].value > 1
    else:
        asked = {(row["finding"], row["centre"]) for row in rows}
        assert ("angina under exercise", "elsewhere") in asked
        assert ("perfusion defect", "cleveland") in asked
        assert ("perfusion defect", "elsewhere") not in asked
        assert {"auc_exang", "coverage90_exang", "auc_thal"} <= report.metrics.keys()
        kinds = ("bedside", "exang", "thal")
        assert [one for one in protocols if "cleveland" in one] == [f"cleveland-10x5-{kind}" for kind in kinds]
        assert [one for one in protocols if "external" in one] == [f"external-elsewhere-{k}" for k in kinds[:2]]


def test_questions_leave_out_who_was_not_examined(several):
    some = replace(several, further={"exang": np.where(several.row < 5, -1, several.row % 2)})
    asked = some.questions()["exang"]
    assert asked.row.min() == 5
    assert asked.y.tolist() == (asked.row % 2).tolist()
