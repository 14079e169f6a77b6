"""Hyper-parameter search: Optuna over a system's declared space, scored on validation data only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from common.config import settings
from common.files import sha256
from common.system import System

if TYPE_CHECKING:
    import optuna


def tune(
    system: System, config: Any, trials: int, on_trial: Callable[[optuna.Study, optuna.trial.FrozenTrial], None]
) -> optuna.Study:
    """Maximise `objective(config, trial)` of the system over `trials` trials; seeded, kept in `<home>/optuna.db`.

    A study belongs to one config: the same one resumes it, so that a stopped search loses at most one trial,
    and another one (seed, data set, override) starts its own.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings().home.mkdir(parents=True, exist_ok=True)
    objective = system.load("objective")
    study = optuna.create_study(
        study_name=f"{system.name}-{sha256(config.model_dump_json().encode())[:12]}",
        storage=f"sqlite:///{settings().home / 'optuna.db'}",
        direction="maximize",
        load_if_exists=True,
    )
    # Another seed after each trial: a resumed search would else begin with the trials that it has.
    study.sampler = optuna.samplers.TPESampler(seed=config.seed + len(study.trials))
    study.optimize(lambda trial: objective(config, trial), n_trials=trials, callbacks=[on_trial])
    return study
