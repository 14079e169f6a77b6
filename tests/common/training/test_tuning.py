from __future__ import annotations

import pytest
from garden import PRESETS, SYSTEM, Config, objective

from common.config import build_config
from common.training.tuning import tune

pytestmark = pytest.mark.usefixtures("garden")


def run(config: Config, trials: int, on_trial=lambda study, trial: None):
    return tune(SYSTEM, config, trials, on_trial)


def test_the_same_config_resumes_its_study_and_another_starts_its_own() -> None:
    assert [len(run(Config(), 3).trials) for _ in range(2)] == [3, 6]
    for other in (Config(slope=1.0), Config(seed=1), Config(dataset="field")):
        assert len(run(other, 2).trials) == 2
    tried = [tuple(trial.params.values()) for trial in run(Config(), 1).trials]
    assert len(set(tried)) == len(tried) == 7


def test_a_seed_gives_one_search() -> None:
    same, again = (run(Config(soil={"layers": {name: {}}}), 5) for name in "ab")
    assert [trial.params for trial in same.trials] == [trial.params for trial in again.trials]
    other = run(Config(seed=3), 5)
    assert [trial.params for trial in same.trials] != [trial.params for trial in other.trials]


def test_it_maximises_and_tells_every_trial() -> None:
    seen = []
    study = run(Config(), 30, lambda study, trial: seen.append(trial.value))
    assert len(seen) == 30
    assert study.best_value == max(seen) > -2


def test_a_stopped_search_keeps_what_it_found() -> None:
    def stop(study, trial):
        if len(study.trials) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Config(), 10, stop)
    assert len(run(Config(), 1).trials) == 5


def test_the_best_are_settings() -> None:
    best = run(Config(), 5).best_params
    config = build_config(Config, PRESETS, "sample", [f"{name}={value}" for name, value in best.items()])
    assert (config.soil.depth, config.soil.lime) == (best["soil.depth"], best["soil.lime"])
    assert callable(objective)
