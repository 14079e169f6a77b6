"""The models: each gives log-odds of fraud, and is arrays that serving reads without the library that fitted them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from common.errors import UsageError
from finance.fraud_detection.config import BoostingSettings, SequenceSettings
from finance.fraud_detection.ensemble import Inputs
from finance.fraud_detection.forest import Forest, anomaly
from finance.fraud_detection.network import Network

ISOLATION_TREES, ISOLATION_ROWS = 100, 256
"""As Liu, Ting & Zhou (2008) have them."""


def fit_xgboost(x: np.ndarray, y: np.ndarray, settings: BoostingSettings, seed: int) -> Forest:
    """Boosted trees of XGBoost, the mean of `bags` boosters."""
    import xgboost

    options = {
        "objective": "binary:logistic",
        "base_score": float(y.mean()),
        "max_depth": settings.depth,
        "eta": settings.learning_rate,
        "subsample": settings.subsample,
        "colsample_bytree": settings.colsample,
        "min_child_weight": settings.min_leaf,
        "lambda": settings.l2,
        "nthread": 1,  # sums in one order: the same model on every machine
    }
    data = xgboost.DMatrix(x, y)
    seeds = range(seed, seed + settings.bags)
    boosters = [xgboost.train({**options, "seed": one}, data, settings.rounds) for one in seeds]
    return Forest.mean([Forest.of_xgboost(booster) for booster in boosters])


def fit_lightgbm(x: np.ndarray, y: np.ndarray, settings: BoostingSettings, seed: int) -> Forest:
    """The same of LightGBM."""
    import lightgbm

    options: dict[str, Any] = {
        "objective": "binary",
        "num_leaves": 2**settings.depth - 1,
        "max_depth": settings.depth,
        "learning_rate": settings.learning_rate,
        "bagging_fraction": settings.subsample,
        "bagging_freq": 1,
        "feature_fraction": settings.colsample,
        "min_data_in_leaf": max(1, round(2 * settings.min_leaf)),
        "lambda_l2": settings.l2,
        "num_threads": 1,
        "deterministic": True,
        "verbose": -1,
    }
    data = lightgbm.Dataset(x, y, free_raw_data=False)
    seeds = range(seed, seed + settings.bags)
    boosters = [lightgbm.train({**options, "seed": one}, data, settings.rounds) for one in seeds]
    return Forest.mean([Forest.of_lightgbm(booster) for booster in boosters])


def fit_network(inputs: Inputs, y: np.ndarray, settings: SequenceSettings, seed: int) -> Network:
    """The sequence model, as ONNX Runtime will run it. Raises `UsageError` where torch is not installed."""
    try:
        from finance.fraud_detection import sequence
    except ModuleNotFoundError as error:
        fix = "install `espalier[deep]`, or leave it out of `models`"
        raise UsageError("the sequence model cannot be trained", got=f"no package {error.name}", fix=fix) from None
    model = sequence.fit_sequence(*inputs, y, settings, seed)
    return Network(sequence.export_onnx(model, settings.steps), sequence.typical(model))


@dataclass(frozen=True)
class Anomaly:
    """How unlike the others a transaction is, without any label: an isolation forest."""

    forest: Forest
    rows: int

    @classmethod
    def fit(cls, x: np.ndarray, seed: int) -> Self:
        """Fit to features float32 (rows, features)."""
        from sklearn.ensemble import IsolationForest

        rows = min(ISOLATION_ROWS, len(x))
        forest = IsolationForest(n_estimators=ISOLATION_TREES, max_samples=rows, random_state=seed)
        return cls(Forest.of_isolation(forest.fit(_filled(x))), rows)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """0 to 1 (rows,): .5 is usual."""
        return anomaly(self.forest.predict(_filled(x)), self.rows)


def _filled(x: np.ndarray) -> np.ndarray:
    """Missing is less than everything: what has no history has counts of 0, and all else of it is missing."""
    return np.nan_to_num(x, nan=-1.0).astype(np.float32)
