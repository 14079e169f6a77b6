from __future__ import annotations

import numpy as np
import pytest
from learnt import config

from common.config import build_config
from common.errors import UsageError
from manufacturing.production_scheduling import SYSTEM
from manufacturing.production_scheduling.config import PRESETS, Config
from manufacturing.production_scheduling.history import load
from manufacturing.production_scheduling.quantiles import effects_of


@pytest.mark.parametrize("preset", SYSTEM.presets)
def test_presets_are_settings(preset):
    assert build_config(Config, PRESETS, preset, []).seed == 0


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("quantiles.levels=[0.5, 0.1, 0.9]", "ascend"),
        ("quantiles.levels=[0.2, 0.5, 0.8]", "0.1, 0.5 and 0.9"),
        ("risk=0.7", "less than 0.5"),
        ("policy.rollouts=1", "greater than or equal to 2"),
        ("plant.weeks=2", "greater than or equal to 4"),
    ],
)
def test_what_cannot_be_is_told(override, told):
    with pytest.raises(UsageError, match=told):
        build_config(Config, PRESETS, "sample", [override])


def test_operators_are_learnt_by_name_only_where_that_is_asked_for():
    assert effects_of(load(config()))["operator"] == {}
    asked = load(config().model_copy(update={"operators": True}))
    assert len(effects_of(asked)["operator"]) == 9
    assert np.isfinite(asked.experience).all()
