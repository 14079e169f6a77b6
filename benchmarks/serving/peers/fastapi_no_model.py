"""FastAPI with the same typed body and no model."""

import os
import sys

sys.path.insert(0, os.environ["BENCH"])

import uvicorn
from fastapi import FastAPI
from model import FEATURES
from pydantic import create_model

Ask = create_model("Ask", **dict.fromkeys(FEATURES, (float, ...)))
app = FastAPI()


@app.post("/predict")
async def predict(body: Ask) -> dict[str, float]:
    return {"probability": body.x0}


uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning")
