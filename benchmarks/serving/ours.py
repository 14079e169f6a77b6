"""The model as an Espalier system: a plug-in of one file, its bundle, and its service.

`python ours.py HOME PORT` serves it as `espalier serve` would, with authentication, validation, audit, metrics and
monitor on. `prepare` writes bundles, key and entry point that this needs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from model import FEATURES, ROW
from pydantic import BaseModel, ConfigDict, create_model

from common.bundle import Bundle
from common.system import System

SYSTEM = System("bench.boosting", "300 trees", "classification", "minimal", (), (), predictor="ours:Boosting")
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Ask: Any = create_model("Ask", __config__=STRICT, **dict.fromkeys(FEATURES, (float, ...)))


class Answer(BaseModel):
    """What FastAPI by hand answers too, and which bundle said so."""

    probability: float
    number: int


class Boosting:
    """XGBoost's in-place prediction on rows or columns."""

    request, response = Ask, Answer

    def __init__(self, booster: Any, number: int) -> None:
        self._booster, self._number = booster, number

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        import xgboost

        booster = xgboost.Booster(model_file=bytearray(bundle.read("model.ubj")))
        booster.set_param({"nthread": 1})
        return cls(booster, bundle.json("preprocess.json")["number"])

    def predict(self, batch: Sequence[Any]) -> list[Answer]:
        x = np.array([list(row.__dict__.values()) for row in batch], np.float32)
        found = self._booster.inplace_predict(x).tolist()
        return [Answer.model_construct(probability=p, number=self._number) for p in found]

    @property
    def table_fields(self) -> list[Any]:
        from common.tables import TableField

        return [TableField(name, "number") for name in FEATURES]

    def predict_table(self, columns: Mapping[str, Any]) -> Any:
        import pyarrow

        x = np.column_stack([columns[name] for name in FEATURES]).astype(np.float32)
        p = self._booster.inplace_predict(x).astype(np.float64)
        return pyarrow.table({"probability": p, "number": np.full(len(p), self._number)})


class NoConfig(BaseModel):
    """Nothing to set."""

    seed: int = 0


def prepare(home: Path, model: Path, numbers: Sequence[int] = (1, 2)) -> str:
    """Entry point, key and one bundle per number (`<home>/bundles/bench.boosting/v<number>`); returns the key."""
    from common.bundle import save_bundle
    from common.evaluation.stability import reference_histogram
    from common.serving.security.keyfile import create_key

    info = home / "plugin" / "bench_boosting-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-boosting\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[espalier.systems]\nbench.boosting = ours:SYSTEM\n")
    sys.path.insert(0, str(info.parent))
    rng = np.random.default_rng(1)
    reference = {name: reference_histogram(rng.normal(size=5000)) for name in FEATURES}
    for number in numbers:
        folder = home / "bundles" / SYSTEM.name / f"v{number}"
        if not folder.exists():
            save_bundle(
                SYSTEM,
                NoConfig(),
                arrays={},
                files={"model.ubj": model.read_bytes()},
                preprocess={"number": number},
                metrics={},
                data={"simulated": False},
                reference=reference,
                examples=[ROW],
                folder=folder,
            )
    keys = home / "keys.json"
    keys.unlink(missing_ok=True)
    key, _ = create_key(keys, ("admin", "predict:*"), name="bench", rate=1e6, burst=1_000_000)
    return key


if __name__ == "__main__":
    from common.serving.app import create_app
    from common.serving.run import run_app

    bundle = {SYSTEM.name: Path(sys.argv[1]) / "bundles" / SYSTEM.name / "v1"}
    run_app(create_app("bench", bundle, systems=[SYSTEM]), port=int(sys.argv[2]))
