"""What `espalier tune` may change, and how a trial is judged: log loss of training patients, or of validation pictures,
that the model has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from common.config import build_config
from common.data.split import repeated_cv
from healthcare.disease_diagnosis.config import Config
from healthcare.disease_diagnosis.data import Patients, load
from healthcare.disease_diagnosis.fit import fit_linear
from healthcare.disease_diagnosis.promise import chances


def objective(config: Config, trial: Any) -> float:
    """Negative log loss for one Optuna trial; no bundle is written. Of several questions the first is judged."""
    data = load(config)
    if isinstance(data, Patients):
        for member in config.tabular.members:
            if member != "boosting":
                trial.suggest_float(f"tabular.{member}_c", 0.01, 100, log=True)
        if "additive" in config.tabular.members:
            trial.suggest_int("tabular.knots", 2, 8)
        if "kernel" in config.tabular.members:
            trial.suggest_float("tabular.kernel_gamma", 0.001, 0.1, log=True)
        if "boosting" in config.tabular.members:
            trial.suggest_int("tabular.rounds", 50, 500, log=True)
        tried, train = _tried(config, trial), data.split(config.centre, config.seed)["train"]
        raw = np.empty((len(train), len(train.findings) - 1))
        for _, fitted_on, judged in repeated_cv(train.y, train.groups, tried.tabular.folds, 1, tried.seed):
            unseen = train.rows(judged)
            raw[judged] = fit_linear(tried, train.rows(fitted_on), unseen).log_odds(unseen.columns())
        return -_log_loss(train.y, raw)
    from healthcare.disease_diagnosis.fit_pictures import fit_ensemble, log_odds  # needs torch

    if config.picture.model == "transfer":
        trial.suggest_float("picture.transfer_c", 1e-4, 1, log=True)
    else:
        trial.suggest_float("picture.optimisation.learning_rate", 5e-4, 2e-2, log=True)
        trial.suggest_float("picture.optimisation.weight_decay", 1e-3, 0.2, log=True)
        trial.suggest_float("picture.erased", 0, 0.6)
    parts = data.split()
    raw = log_odds(fit_ensemble(_tried(config, trial), parts["train"]), parts["val"].picture)
    return -_log_loss(parts["val"].y, raw[:, None])


def _tried(config: Config, trial: Any) -> Config:
    """Named as overrides, so that the best ones can be given to `espalier train` as they are printed."""
    overrides = [f"{name}={value!r}" for name, value in trial.params.items()]
    return build_config(Config, {"trial": config.model_dump(mode="json")}, "trial", overrides)


def _log_loss(y: np.ndarray, raw: np.ndarray) -> float:
    return float(-np.log(np.maximum(chances(raw)[np.arange(len(y)), y], 1e-12)).mean())
