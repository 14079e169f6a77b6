"""LitServe with dynamic batching, as its documentation shows."""

import os
import sys

sys.path.insert(0, os.environ["BENCH"])

import litserve
import numpy as np
import xgboost
from model import FEATURES


class Boosting(litserve.LitAPI):
    def setup(self, device):
        self.booster = xgboost.Booster(model_file=os.environ["MODEL"])
        self.booster.set_param({"nthread": 1})

    def decode_request(self, request):
        return np.array([request[name] for name in FEATURES], np.float32)

    def batch(self, inputs):
        return np.stack(inputs)

    def predict(self, x):
        return self.booster.inplace_predict(x)

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {"probability": float(output)}


if __name__ == "__main__":
    api = Boosting(max_batch_size=32, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(port=int(os.environ["PORT"]), num_api_servers=1, log_level="warning", generate_client_file=False)
