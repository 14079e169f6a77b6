"""The one model of the comparison: XGBoost, 300 trees of depth 6, 20 features, on made-up data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

FEATURES = [f"x{i}" for i in range(20)]
ROW = {name: round(0.1 * i - 1, 1) for i, name in enumerate(FEATURES)}


def train(path: Path, trees: int = 300) -> Path:
    """Fit (seed 0) and save as `.ubj`; leaves a file that is there alone."""
    import xgboost

    if not path.exists():
        rng = np.random.default_rng(0)
        x = rng.normal(size=(20_000, len(FEATURES))).astype(np.float32)
        y = (x[:, :5].sum(1) + x[:, 5] * x[:, 6] + rng.normal(size=len(x)) > 0).astype(int)
        settings = {"objective": "binary:logistic", "max_depth": 6, "eta": 0.1, "seed": 0, "nthread": 1}
        path.parent.mkdir(parents=True, exist_ok=True)
        xgboost.train(settings, xgboost.DMatrix(x, y), trees).save_model(path)
    return path
