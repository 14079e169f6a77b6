"""What can be set; `PRESETS` stands beside the config, and `sample` must work offline in seconds.

sample     1,000 simulated rows, about a second
reference  5,000 simulated rows, about two seconds
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from common.config import Strict


class Config(Strict):
    """One training run."""

    seed: int = 0
    rows: int = Field(1000, ge=200, description="rows to simulate")
    inverse_penalty: float = Field(1.0, gt=0, description="C of scikit-learn's LogisticRegression")


PRESETS: dict[str, dict[str, Any]] = {"sample": {}, "reference": {"rows": 5000}}
