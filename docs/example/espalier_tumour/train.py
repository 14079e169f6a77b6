"""From data to a bundle; the test part stays closed."""

from __future__ import annotations

from sklearn.linear_model import LogisticRegression

from common.bundle import Bundle, save_bundle
from common.evaluation.stability import reference_histogram
from espalier_tumour import SYSTEM
from espalier_tumour.config import Config
from espalier_tumour.data import FIELDS, load


def train(config: Config) -> Bundle:
    """Logistic regression on standardised measurements."""
    data = load()
    known = data.split(config.seed)["train"]
    mean, spread = known.x.mean(axis=0), known.x.std(axis=0)
    model = LogisticRegression(C=config.inverse_penalty).fit((known.x - mean) / spread, known.y)
    weight = model.coef_[0] / spread
    return save_bundle(
        SYSTEM,
        config,
        arrays={"model.safetensors": {"weight": weight, "intercept": model.intercept_ - mean @ weight}},
        preprocess={"fields": list(FIELDS)},
        metrics={"train_rows": len(known.y)},
        data={
            "cards": [{"id": "sklearn", "title": "Breast cancer Wisconsin", "licence": "CC BY 4.0"}],
            "simulated": False,
            "split": f"70/30 stratified, seed {config.seed}",
            "sha256": data.sha256,
        },
        reference={name: reference_histogram(known.x[:, i]) for i, name in enumerate(FIELDS)},
        examples=[dict(zip(FIELDS, row, strict=True)) for row in known.x[:3].tolist()],
    )
