"""One or several taggers of the same reader as one ONNX file: the means of their scores."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from common.text.onnx_tagger import reader_state
from common.text.reading import Reader
from common.text.tagger import Tagger


class Ensemble(nn.Module):
    """Taggers with one reader; scores and transitions are their means: the path that is best for all together."""

    def __init__(self, members: Sequence[Tagger]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def emit(self, rows: Tensor) -> Tensor:
        """Scores float32 (windows, rows, tags)."""
        return torch.stack([member.emit(rows) for member in self.members]).mean(0)

    def transitions(self) -> Tensor:
        """Scores (tags + 1, tags + 1)."""
        return torch.stack([member.crf() for member in self.members]).mean(0)

    def forward(self, rows: Tensor) -> Tensor:
        """As `emit`."""
        return self.emit(rows)


def export_tagger(members: Sequence[Tagger], reader: Reader, *, int8: bool = False) -> tuple[bytes, dict[str, Any]]:
    """Graph `rows` int64 (windows, rows, columns) to `scores` float32 (windows, rows, tags), and the state as JSON.

    A batch gives what its windows give alone. With `int8` the weights of products are whole numbers of 8 bits and the
    inputs are rounded as they come: a quarter of the size, faster where the processor has such instructions.
    """
    model = Ensemble(members).eval()
    example = torch.ones(2, 5, width(members[0]), dtype=torch.long)
    example[1, 3:] = 0
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The newer exporter needs two more packages and writes source paths into the file.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (example,),
            buffer,
            dynamo=False,
            opset_version=17,
            input_names=["rows"],
            output_names=["scores"],
            dynamic_axes={"rows": {0: "windows", 1: "rows"}, "scores": {0: "windows", 1: "rows"}},
        )
    state = {**reader_state(reader), "transitions": model.transitions().detach().tolist()}
    graph = buffer.getvalue()
    return (_int8(graph) if int8 else graph), state


def width(tagger: Tagger) -> int:
    """Columns of the rows that a tagger reads."""
    from common.text.columns import LETTERS

    return tagger.lead + len(tagger.tables) + (LETTERS if tagger.letters is not None else 0)


def _int8(graph: bytes) -> bytes:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with TemporaryDirectory() as folder:
        whole, small = Path(folder) / "whole.onnx", Path(folder) / "small.onnx"
        whole.write_bytes(graph)
        quantize_dynamic(whole, small, op_types_to_quantize=["MatMul", "LSTM"], weight_type=QuantType.QInt8)
        return small.read_bytes()
