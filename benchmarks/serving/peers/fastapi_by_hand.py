"""FastAPI as written by hand: a typed body, the model called in the handler, no key, log, metrics or audit."""

import os
import sys

sys.path.insert(0, os.environ["BENCH"])

import numpy as np
import uvicorn
import xgboost
from fastapi import FastAPI
from model import FEATURES
from pydantic import create_model

booster = xgboost.Booster(model_file=os.environ["MODEL"])
booster.set_param({"nthread": 1})
Ask = create_model("Ask", **dict.fromkeys(FEATURES, (float, ...)))
app = FastAPI()


@app.post("/predict")
async def predict(body: Ask) -> dict[str, float]:
    x = np.array([list(body.__dict__.values())], np.float32)
    return {"probability": float(booster.inplace_predict(x)[0])}


uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning")
