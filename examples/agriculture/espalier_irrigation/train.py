"""From data to a bundle; the test part stays closed."""

from __future__ import annotations

import numpy as np

from common.bundle import Bundle, save_bundle
from common.evaluation.metrics import auc, brier
from common.evaluation.stability import reference_histogram
from espalier_irrigation import SYSTEM
from espalier_irrigation.config import Config
from espalier_irrigation.data import DATASET, FEATURES, FRACTIONS, SIMULATED, load
from espalier_irrigation.model import fit


def train(config: Config) -> Bundle:
    """Fit on the training part, measure on the validation part, save."""
    data = load(config.rows, config.seed)
    split = data.split(config.seed)
    train, valid = split["train"], split["valid"]
    model = fit(train.x, train.y, config.inverse_penalty)
    p = [model.probability(row) for row in valid.x.tolist()]
    return save_bundle(
        SYSTEM,
        config,
        arrays={"model.safetensors": {"weight": np.array(model.weight), "intercept": np.array([model.intercept])}},
        preprocess={"features": list(FEATURES)},
        metrics={"valid_auc": auc(valid.y, p), "valid_brier": brier(valid.y, p), "train_rows": len(train.y)},
        data={
            "cards": [{"id": DATASET, "title": "Simulated rows", "licence": "none needed", "sha256": data.sha256}],
            "simulated": SIMULATED,
            "split": f"{FRACTIONS}, stratified, seed {config.seed}",
        },
        reference={name: reference_histogram(train.x[:, i]) for i, name in enumerate(FEATURES)},
        examples=[dict(zip(FEATURES, row, strict=True)) for row in valid.x[:5].tolist()],
    )
