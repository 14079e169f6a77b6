"""Starlette without a model: what the server itself can do."""

import os

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route


async def predict(request):
    await request.body()
    return JSONResponse({"probability": 0.5})


app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning")
