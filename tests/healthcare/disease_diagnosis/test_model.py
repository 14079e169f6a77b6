from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from common.errors import DataError
from common.evaluation.metrics import auc
from common.training.boosting import fit_boosting
from healthcare.disease_diagnosis.basis import Basis
from healthcare.disease_diagnosis.fit import fit, held_out
from healthcare.disease_diagnosis.linear import Linear
from healthcare.disease_diagnosis.model import STUMPS, Task
from healthcare.disease_diagnosis.promise import chances


def fitted(patients, settings, panels=None, seed=0) -> Linear:
    basis = Basis.fit(patients.fields, patients.columns(), settings, seed)
    panels = range(2 ** len(basis.tests)) if panels is None else panels
    return Task(basis, patients.columns(), patients.y, len(patients.findings), settings, seed).fit(panels)


@pytest.fixture(scope="module")
def cleveland(patients):
    return patients.rows(patients.site == "cleveland")


def with_members(config, *members):
    return config.tabular.model_copy(update={"members": members})


def test_the_ensemble_is_the_mean_of_its_members_log_odds(cleveland, heart_config):
    columns = cleveland.columns()
    alone = [fitted(cleveland, with_members(heart_config, m)).log_odds(columns) for m in ("logistic", "additive")]
    both = fitted(cleveland, with_members(heart_config, "logistic", "additive")).log_odds(columns)
    assert both == pytest.approx(np.mean(alone, axis=0), abs=1e-9)


def test_without_a_test_the_answer_is_that_of_a_model_fitted_without_its_fields(cleveland, heart_config):
    settings = with_members(heart_config, "logistic")
    model = fitted(cleveland, settings)
    columns = cleveland.columns()
    columns["thal"] = np.full(len(cleveland), None, object)
    basis = model.basis
    matrix, _, owners = basis.matrix(columns)
    kept = np.array([owner != "thal" for owner in owners])
    by_hand = LogisticRegression(C=settings.logistic_c, max_iter=500).fit(matrix[:, kept], cleveland.y)
    assert model.log_odds(columns)[:, 0] == pytest.approx(by_hand.decision_function(matrix[:, kept]), abs=1e-6)


def test_boosted_steps_are_the_booster_s_own_log_odds(cleveland, heart_config):
    settings = with_members(heart_config, "boosting").model_copy(update={"rounds": 40})
    basis = Basis.fit(cleveland.fields, cleveland.columns(), settings, 0)
    model = Task(basis, cleveland.columns(), cleveland.y, 2, settings, 0).fit([63])
    matrix, _, _ = basis.matrix(cleveland.columns())
    found = fit_boosting("xgboost", STUMPS.model_copy(update={"rounds": 40}), matrix, cleveland.y, seed=0)
    theirs = np.full(len(matrix), found.intercept)
    for leaf in found.leaves:
        inside = [
            (low <= matrix[:, column]) & (matrix[:, column] < high) for column, (low, high, _) in leaf.box.items()
        ]
        theirs += leaf.value * np.all(inside, axis=0)
    ours = model.log_odds(cleveland.columns(), np.zeros(len(cleveland), int))[:, 0]
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert auc(cleveland.y, ours) > 0.8


def test_contributions_add_up_to_the_log_odds_against_the_average_patient(cleveland, heart_config):
    model = fitted(cleveland, heart_config.tabular)
    columns = cleveland.columns()
    centre = model.basis.matrix(columns)[0].mean(axis=0)
    names, parts = model.contributions(columns, centre, np.ones(len(cleveland), int))
    place = model.place(columns)
    average = (centre * model.weights[place, 0]).sum(axis=1) + model.intercepts[place, 0]
    assert names == [field.name for field in cleveland.fields]
    assert parts.sum(axis=1) + average == pytest.approx(model.log_odds(columns)[:, 0], abs=1e-9)


def test_a_model_survives_being_written_down(cleveland, heart_config, config, breast):
    for model in (fitted(cleveland, heart_config.tabular), breast.engine.main.linear):
        again = Linear.of(model.json(), model.arrays())
        assert again.basis.members == model.basis.members
        assert (again.weights == model.weights).all()


def test_extremes_of_another_centre_are_not_extrapolated(cleveland, heart_config):
    model = fitted(cleveland, with_members(heart_config, "additive"))
    columns = cleveland.columns()
    highest = columns | {"chol": np.full(len(cleveland), np.nanmax(columns["chol"]))}
    beyond = columns | {"chol": np.full(len(cleveland), 690.0)}
    assert model.log_odds(beyond) == pytest.approx(model.log_odds(highest), abs=1e-12)


def test_nobody_is_judged_by_a_model_that_has_seen_him(cleveland, heart_config):
    changed = cleveland.rows(np.arange(len(cleveland)))
    changed.y[0] = 1 - changed.y[0]
    before, after = (held_out(heart_config, part, 64)[:, 0] for part in (cleveland, changed))
    # The fold that tests him was fitted without him; folds are stratified, so his own label moves them a little.
    assert np.abs(before - after).max() < 1.0


def test_fit_calibrates_every_choice_of_tests(cleveland, heart_config):
    question, metrics = fit(heart_config, cleveland)
    site = question.sites["cleveland"]
    assert site.shift.shape == (64, 1)
    assert site.slope.shape == (64,)
    assert (site.slope > 0).all()
    assert metrics["valid_auc"] > 0.85
    few, all_ = site.score[0], site.score[63]
    assert np.nanmean(few) > np.nanmean(all_)  # fewer tests, less certainty


def test_stacked_members_share_the_weight_and_none_counts_against_the_others(cleveland, heart_config):
    settings = with_members(heart_config, "logistic", "additive", "boosting")
    settings = settings.model_copy(update={"stacked": True, "rounds": 20})
    basis = Basis.fit(cleveland.fields, cleveland.columns(), settings, 0)
    task = Task(basis, cleveland.columns(), cleveland.y, 2, settings, 0)
    shares = task.stacked()
    assert shares.sum() == pytest.approx(1)
    assert (shares >= 0).all()
    columns, place = cleveland.columns(), np.zeros(len(cleveland), int)
    alone = [fitted(cleveland, with_members(heart_config, m), [63]) for m in ("logistic", "additive")]
    stacked = auc(cleveland.y, task.fit([63]).log_odds(columns, place)[:, 0])
    assert stacked > min(auc(cleveland.y, model.log_odds(columns, place)[:, 0]) for model in alone) - 0.01


def test_several_findings_have_the_multinomial_s_own_probabilities(graded, heart_config):
    graded = graded.rows(graded.site == "cleveland")
    settings = with_members(heart_config, "logistic")
    model = fitted(graded, settings, [63])
    matrix, _, _ = model.basis.matrix(graded.columns())
    by_hand = LogisticRegression(C=settings.logistic_c, max_iter=500).fit(matrix, graded.y)
    ours = chances(model.log_odds(graded.columns(), np.zeros(len(graded), int)))
    assert ours == pytest.approx(by_hand.predict_proba(matrix), abs=1e-6)


@pytest.mark.parametrize("stacked", [False, True])
def test_boosting_tells_several_findings_apart_alone_and_in_a_stack(graded, heart_config, stacked):
    graded = graded.rows(graded.site == "cleveland")
    members = ("logistic", "boosting") if stacked else ("boosting",)
    settings = with_members(heart_config, *members).model_copy(update={"rounds": 40, "stacked": stacked})
    p = chances(fitted(graded, settings, [63]).log_odds(graded.columns(), np.zeros(len(graded), int)))
    for k in range(5):
        assert auc(graded.y == k, p[:, k]) > 0.8


def test_a_finding_that_nobody_has_is_not_learnt(graded, heart_config):
    with pytest.raises(DataError, match="no patient to learn a finding from: got 4 of 5"):
        fitted(graded.rows(graded.y < 4), heart_config.tabular, [63])
