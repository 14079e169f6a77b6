"""MLServer with a runtime of its own and adaptive batching."""

import os

import xgboost
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Boosting(MLModel):
    async def load(self) -> bool:
        self.booster = xgboost.Booster(model_file=os.environ["MODEL"])
        self.booster.set_param({"nthread": 1})
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = NumpyCodec.decode_input(payload.inputs[0])
        output = NumpyCodec.encode_output("probability", self.booster.inplace_predict(x))
        return InferenceResponse(model_name=self.name, outputs=[output])
