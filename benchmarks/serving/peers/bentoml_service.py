"""BentoML with adaptive batching."""

import os
import sys

sys.path.insert(0, os.environ["BENCH"])

import bentoml
import numpy as np
import xgboost
from model import FEATURES
from pydantic import BaseModel, create_model

Ask: type[BaseModel] = create_model("Ask", **dict.fromkeys(FEATURES, (float, ...)))


@bentoml.service(workers=1, traffic={"timeout": 30})
class Boosting:
    def __init__(self) -> None:
        self.booster = xgboost.Booster(model_file=os.environ["MODEL"])
        self.booster.set_param({"nthread": 1})

    @bentoml.api(input_spec=Ask)
    async def predict(self, **body: float) -> dict[str, float]:
        x = np.array([[body[name] for name in FEATURES]], np.float32)
        return {"probability": float(self.booster.inplace_predict(x)[0])}
