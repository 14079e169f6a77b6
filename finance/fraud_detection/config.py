"""What can be set for fraud detection, and the presets.

sample     a small simulated town, no file needed, about 10 s
reference  the Fraud Detection Handbook's process in full, 1.8 million payments: 4 min; bench: 20 min
speed      time, memory and recovery of the online state: 7 min
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from common.config import Strict
from finance.fraud_detection.clock import DAY, HOUR, MINUTE, SECOND
from finance.fraud_detection.simulator import SIMULATED

Model = Literal["logistic", "xgboost", "lightgbm", "sequence"]


class Periods(Strict):
    """One clock for features, labels, thresholds and evaluation: what is known when testing begins, and no more."""

    test_start: str = Field("", description="UTC day; empty: when `train_share` of the labelled transactions are past")
    train_share: float = Field(0.8, gt=0, lt=1)
    train_days: float | None = Field(None, gt=0, description="all that is past, when null")
    test_days: float | None = Field(None, gt=0, description="all that follows, when null")
    folds: int = Field(2, ge=1, description="earlier moments at which the champion is chosen")
    without_known: bool = Field(False, description="leave out customers known to be defrauded, as the Handbook does")


class BoostingSettings(Strict):
    """Trees, for both libraries."""

    depth: int = Field(4, ge=1, le=10)
    rounds: int = Field(150, ge=1)
    learning_rate: float = Field(0.05, gt=0)
    subsample: float = Field(0.8, gt=0, le=1)
    colsample: float = Field(0.5, gt=0, le=1, description="features tried for each tree")
    min_leaf: float = Field(5, ge=0, description="least sum of hessians (XGBoost) or rows / 2 (LightGBM) in a leaf")
    l2: float = Field(1.0, ge=0)
    bags: int = Field(3, ge=1, description="boosters whose log-odds are averaged")


class SequenceSettings(Strict):
    """The recurrent network: 70,000 transactions with 32 steps before each take 32 s on one core and 1 GB."""

    steps: int = Field(32, ge=1, le=1024, description="transactions of the customer before the current one")
    epochs: int = Field(8, ge=1)
    batch: int = Field(512, ge=1)
    learning_rate: float = Field(3e-3, gt=0)


class Config(Strict):
    """One training run."""

    dataset: str = Field(
        SIMULATED, min_length=1, description="or fraud-sffsd, fraud-aws-registration, a CSV or Parquet"
    )
    seed: int = 0
    customers: int = Field(5_000, ge=3, description="of the simulator, as are the next two")
    terminals: int = Field(10_000, ge=2)
    days: int = Field(183, ge=1)
    label_delay_days: float = Field(7, ge=0, description="until a label is known, where the data do not say")
    periods: Periods = Periods(test_start="2018-08-08", train_days=7, test_days=7, folds=4, without_known=True)
    windows: tuple[int, ...] = Field(
        (MINUTE, HOUR, DAY, 7 * DAY, 30 * DAY), min_length=1, description="milliseconds, ascending"
    )
    risk_windows: tuple[int, ...] = Field((DAY, 7 * DAY, 30 * DAY), min_length=1, description="milliseconds, ascending")
    calendar: bool = Field(True, description="times are real ones")
    models: tuple[Model, ...] = Field(
        ("logistic", "xgboost", "lightgbm", "sequence"), min_length=1, description="with two kinds, their mean too"
    )
    boosting: BoostingSettings = BoostingSettings()
    sequence: SequenceSettings = SequenceSettings()
    alerts_per_day: float = Field(100, gt=0, description="the alert budget: customers a day")
    review_cost: int = Field(500, ge=0, description="minor units that a review costs")
    decline_precision: float = Field(0.9, gt=0, le=1, description="declined from the score at which so many are frauds")


RECIPES: dict[str, dict[str, Any]] = {
    "fraud-sffsd": {
        # It has no clock: a step is a second, and every label is known 1,000 steps later.
        "label_delay_days": 1_000 * SECOND / DAY,
        "windows": [10 * SECOND, 100 * SECOND, 1_000 * SECOND, 10_000 * SECOND, 80_000 * SECOND],
        "risk_windows": [1_000 * SECOND, 10_000 * SECOND, 80_000 * SECOND],
        "calendar": False,
        "periods": {"train_share": 0.8, "folds": 2},
    },
    # 55 registrations a day, 2 or 3 of them fraud.
    "fraud-aws-registration": {"periods": {"train_share": 0.8, "folds": 2}, "alerts_per_day": 5},
}
"""What differs by data set."""

PRESETS: dict[str, dict[str, Any]] = {
    "sample": {
        "customers": 600,
        "terminals": 3_000,
        "days": 75,
        "periods": {"test_start": "2018-06-01", "train_days": 14, "test_days": 7, "folds": 1, "without_known": True},
        "models": ["logistic", "xgboost"],
        "boosting": {"rounds": 60, "bags": 1},
        "alerts_per_day": 10,
    },
    "reference": {},
    "speed": {"models": ["xgboost", "sequence"]},
}
