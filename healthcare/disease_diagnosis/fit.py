"""How the tabular model is fitted: on all training rows, and on folds of them to calibrate and to promise."""

from __future__ import annotations

from typing import Any

import numpy as np

from common.data.split import repeated_cv
from common.evaluation.metrics import auc, brier
from common.progress import bar
from healthcare.disease_diagnosis.basis import Basis
from healthcare.disease_diagnosis.config import Config
from healthcare.disease_diagnosis.data import Patients
from healthcare.disease_diagnosis.linear import Linear
from healthcare.disease_diagnosis.model import Task
from healthcare.disease_diagnosis.promise import Site, chances, recalibrated
from healthcare.disease_diagnosis.question import Question


def fit_linear(config: Config, train: Patients, only: Patients | None = None) -> Linear:
    """The model alone, for every choice of tests, or for those that patients of `only` had."""
    basis = Basis.fit(train.fields, train.columns(), config.tabular, config.seed)
    panels = range(2 ** len(basis.tests)) if only is None else basis.panels(only.columns()).tolist()
    return Task(basis, train.columns(), train.y, len(train.findings), config.tabular, config.seed).fit(panels)


def fit(config: Config, train: Patients) -> tuple[Question, dict[str, Any]]:
    """The model, its calibration for every choice of tests and the scores that the promise rests on; metrics.

    Calibration and scores come from folds (cross-conformal, Vovk, 2015, arXiv:1208.0806): each training patient is
    judged by a model that has not seen him, also as if fewer tests had been done.
    """
    linear = fit_linear(config, train)
    raw = held_out(config, train, len(linear.panels))
    place, rows = linear.place(train.columns()), np.arange(len(train))
    done = linear.panels[place]
    shift, slope, score = np.empty((len(raw), raw.shape[2])), np.empty(len(raw)), np.full(raw.shape[:2], np.nan)
    for panel, log_odds in enumerate(raw):
        # Who had no more tests than this panel's cannot stand for it.
        able = (done & linear.panels[panel]) == linear.panels[panel]
        shift[panel], slope[panel] = recalibrated(log_odds[able], train.y[able])
        score[panel, able] = 1 - chances(shift[panel] + slope[panel] * log_odds)[rows, train.y][able]
    site = Site(shift, slope, score, train.sex)
    ill = 1 - site.chances(raw[place, rows], place)[:, 0]
    metrics = {"valid_auc": auc(train.diseased, ill), "valid_brier": brier(train.diseased, ill)}
    matrix, _, _ = linear.basis.matrix(train.columns())
    question = Question(train.findings, linear, {str(train.site[0]): site}, matrix.mean(axis=0))
    return question, metrics | {"valid_patients": len(train)}


def held_out(config: Config, train: Patients, panels: int) -> np.ndarray:
    """float64 (panels, rows, findings - 1): by models that did not see the row, as if with the tests of a panel."""
    found = np.empty((panels, len(train), len(train.findings) - 1))
    folds = list(repeated_cv(train.y, train.groups, config.tabular.folds, 1, config.seed))
    with bar("calibrating", len(folds)) as advance:
        for _, fitted_on, judged in folds:
            model, columns = fit_linear(config, train.rows(fitted_on)), train.rows(judged).columns()
            for panel in range(panels):
                found[panel, judged] = model.log_odds(columns, np.full(len(judged), panel))
            advance(1)
    return found
