"""What can be set for production scheduling, and the presets.

sample     a small simulated plant and a policy of a few updates, no file needed: 20 s on one core
reference  a year of a simulated plant, and 3,000 updates of the policy: 2 min; bench: the published instances, 60 min
full       the same, and bench takes all eighty instances of Taillard: 2.5 hours more
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from common.config import Strict

SIMULATED = "shop-floor-simulated"


class Plant(Strict):
    """The simulated plant."""

    weeks: int = Field(52, ge=4)
    orders: int = Field(120, ge=1, description="a week, of 2 to 6 operations each")
    machines: int = Field(10, ge=2)
    families: int = Field(8, ge=1)
    operators: int = Field(24, ge=3)


class Quantiles(Strict):
    """LightGBM models of actual / planned time, one for each level."""

    levels: tuple[float, ...] = Field((0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98), min_length=3)
    rounds: int = Field(400, ge=1, description="at most: the stop weeks end it")
    patience: int = Field(20, ge=1)
    learning_rate: float = Field(0.05, gt=0)
    leaves: int = Field(15, ge=2, le=256)
    min_leaf: int = Field(40, ge=1, description="rows in a leaf")
    hidden_share: float = Field(0.3, ge=0, le=1, description="how often a copy of a row lacks each attribute")
    calibration_rows: int = Field(2_000, ge=50, description="the latest ones, at most")

    @model_validator(mode="after")
    def _ascending(self) -> Quantiles:
        inside = all(0 < level < 1 for level in self.levels)
        if not inside or list(self.levels) != sorted(set(self.levels)) or not {0.1, 0.5, 0.9} <= set(self.levels):
            raise ValueError("levels ascend between 0 and 1, with 0.1, 0.5 and 0.9 among them")
        return self


class Learning(Strict):
    """REINFORCE on random job shops."""

    seconds: float | None = Field(None, gt=0, description="ends training early, and then not reproducibly")
    updates: int = Field(3_000, ge=0, description="0: the policy stays a rule, most work remaining")
    shops: int = Field(8, ge=1, description="random job shops of one update")
    rollouts: int = Field(16, ge=2, description="of each of them")
    learning_rate: float = Field(1e-3, gt=0)
    hidden: int = Field(32, ge=1)
    sizes: tuple[tuple[int, int], ...] = Field(
        ((6, 6), (10, 5), (10, 10), (15, 5), (15, 10), (20, 10), (15, 15)), min_length=1, description="jobs x machines"
    )
    flexible: float = Field(0.25, ge=0, le=1, description="share of shops whose operations have several machines")
    setups: float = Field(0.25, ge=0, le=1, description="share of shops whose machines are set up between families")
    valid_shops: int = Field(40, ge=1, description="of other seeds; they choose the best of the policies on the way")


class Config(Strict):
    """One training run, and how plans are made with what it learns."""

    dataset: str = Field(SIMULATED, min_length=1, description="or a CSV of one's own shop-floor history")
    seed: int = Field(0, ge=0)
    minutes_per_unit: float = Field(1.0, gt=0, description="of the time unit of problems; histories count in minutes")
    operators: bool = Field(
        False, description="learn who is fast, by name, too; experience counts anyway. Ask those whom it concerns first"
    )
    test_weeks: int = Field(8, ge=1, description="the last ones")
    calibration_weeks: int = Field(6, ge=1, description="before the test: they make the quantiles honest")
    stop_weeks: int = Field(4, ge=1, description="before the calibration: they end boosting")
    plant: Plant = Plant()
    quantiles: Quantiles = Quantiles()
    policy: Learning = Learning()
    risk: float = Field(0.1, gt=0, lt=0.5, description="of a robust plan to end later than it says")
    draws: int = Field(1_000, ge=100, description="simulated runs of a plan")
    seconds: float = Field(60.0, gt=0, description="of a solve")
    workers: int = Field(2, ge=1, description="of a solve: threads")


PRESETS: dict[str, dict[str, Any]] = {
    "sample": {
        "test_weeks": 3,
        "calibration_weeks": 3,
        "stop_weeks": 2,
        "plant": {"weeks": 16, "orders": 60, "machines": 6, "families": 4, "operators": 9},
        "quantiles": {"rounds": 60, "learning_rate": 0.15, "patience": 10, "min_leaf": 20, "calibration_rows": 500},
        "policy": {"updates": 60, "shops": 4, "learning_rate": 3e-3, "sizes": [[6, 6], [8, 4]], "valid_shops": 30},
        "seconds": 2.0,
        "workers": 1,
        "draws": 400,
    },
    "reference": {},
    "full": {},
}
