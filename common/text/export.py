"""An encoder as one ONNX file, pooling inside: token ids to vectors."""

from __future__ import annotations

import io
import warnings

import torch
from torch import Tensor, nn

from common.text.encoder import Encoder


def export_onnx(encoder: Encoder, *, layers: bool = False) -> bytes:
    """`ids` int64 (texts, tokens), filled with the tokenizer's pad id, to `vectors` float32 (texts, width).

    With `layers` to (texts, layers, width), the pooled states of all layers. Any number of texts and tokens; a batch
    gives what its texts give alone.
    """
    buffer = io.BytesIO()
    ids = torch.tensor([[2, 3, 4, 5], [2, 3, encoder.tokens.pad, encoder.tokens.pad]])
    with warnings.catch_warnings(), torch.no_grad():
        # The newer exporter needs two more packages and writes source paths into the file.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Pooled(encoder, layers).eval(),
            (ids,),
            buffer,
            dynamo=False,
            opset_version=17,
            input_names=["ids"],
            output_names=["vectors"],
            dynamic_axes={"ids": {0: "texts", 1: "tokens"}, "vectors": {0: "texts"}},
        )
    return buffer.getvalue()


class _Pooled(nn.Module):
    def __init__(self, encoder: Encoder, layers: bool) -> None:
        super().__init__()
        self.encoder, self.layers = encoder, layers

    def forward(self, ids: Tensor) -> Tensor:
        return self.encoder.by_layer(ids) if self.layers else self.encoder.pooled(ids)
