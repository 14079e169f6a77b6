from __future__ import annotations

import optuna

from common.config import build_config
from common.training.tuning import tune
from healthcare.disease_diagnosis import SYSTEM
from healthcare.disease_diagnosis.config import PRESETS, Config
from healthcare.disease_diagnosis.tune import objective


def test_a_study_of_measurements_finds_settings_that_train_takes(home, config):
    study = tune(SYSTEM, config, 3, lambda study, trial: None)
    assert {"tabular.logistic_c", "tabular.kernel_c", "tabular.kernel_gamma"} == set(study.best_params)
    assert -0.2 < study.best_value < 0
    assert min(trial.value for trial in study.trials) < study.best_value
    overrides = [f"{name}={value!r}" for name, value in study.best_params.items()]
    assert build_config(Config, PRESETS, "sample", overrides).tabular.kernel_c == study.best_params["tabular.kernel_c"]


def test_nets_that_learn_less_are_judged_worse(chest_config):
    fixed = {"picture.optimisation.weight_decay": 0.05, "picture.erased": 0.0}
    slow, fast = (
        objective(chest_config, optuna.trial.FixedTrial(fixed | {"picture.optimisation.learning_rate": rate}))
        for rate in (5e-4, 5e-3)
    )
    assert slow < fast < 0
