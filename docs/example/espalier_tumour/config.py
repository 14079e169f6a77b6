"""What can be set; `PRESETS` stands beside the config, and `sample` must work offline in seconds."""

from __future__ import annotations

from typing import Any

from common.config import Strict


class Config(Strict):
    """One training run."""

    seed: int = 0
    inverse_penalty: float = 1.0


# The data ships with scikit-learn, so both presets are the same.
PRESETS: dict[str, dict[str, Any]] = {"sample": {}, "reference": {}}
