"""Taggers as one ONNX file and a JSON state; marks where a model is served, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime

from common.text.columns import Columns
from common.text.reading import Reader
from common.text.tags import Mark
from common.text.tokens import Tokens


class OnnxTagger:
    """Marks in texts by a graph and a state of `export_tagger`, on one thread; safe for threads."""

    def __init__(self, graph: bytes, state: dict[str, Any]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.reader = restore_reader(state)
        self._transitions = np.array(state["transitions"], np.float32)

    def marks(self, texts: Sequence[str]) -> list[list[Mark]]:
        """Of every text, in order; labels are those of the texts that it learned from."""
        return self.reader.marks(texts, self._emit, self._transitions)

    def _emit(self, rows: np.ndarray) -> np.ndarray:
        (scores,) = self._session.run(None, {"rows": rows})
        return scores


def reader_state(reader: Reader) -> dict[str, Any]:
    """As JSON."""
    tokens = reader.tokens
    return {
        "columns": reader.columns.state(),
        "longest": reader.longest,
        "same": reader.same,
        "tokens": tokens.state() if tokens else None,
        "places": tokens.longest if tokens else 0,
    }


def restore_reader(state: dict[str, Any]) -> Reader:
    """What `reader_state` gave."""
    tokens = Tokens(state["tokens"].encode(), longest=state["places"]) if state["tokens"] else None
    return Reader(Columns.restore(state["columns"]), tokens=tokens, longest=state["longest"], same=state["same"])
