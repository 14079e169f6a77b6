"""Sentence vectors where a model is served: ONNX Runtime and `tokenizers`, without torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime

from common.text.tokens import Tokens

BATCH = 32


class OnnxEncoder:
    """Texts to the vectors of a graph by `export_onnx`, on one thread; safe for threads."""

    def __init__(self, graph: bytes, tokens: Tokens) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.tokens = tokens
        self.shape: tuple[int, ...] = tuple(self._session.get_outputs()[0].shape[1:])

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (texts, width) or (texts, layers, width), as the graph was exported."""
        found: list[np.ndarray] = [np.empty(0)] * len(texts)
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        for start in range(0, len(texts), BATCH):
            rows = order[start : start + BATCH]
            ids = self.tokens([texts[row] for row in rows])
            (vectors,) = self._session.run(None, {"ids": ids})
            for row, vector in zip(rows, vectors, strict=True):
                found[row] = vector
        return np.stack(found) if found else np.empty((0, *self.shape), np.float32)
