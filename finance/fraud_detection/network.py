"""The sequence model as ONNX Runtime runs it, and what each feature adds to its log-odds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnxruntime

BLOCK = 4
"""Rows are filled up to a multiple of this: its kernels take so many at a time and add otherwise for what is left, so
that a row alone would differ from the same row in a batch by 2e-8."""
TOGETHER = 1024
"""Rows at a time: 5 MB."""


@dataclass(frozen=True)
class Network:
    """`graph` is what `sequence.export_onnx` gave, and `typical` (features,) what a feature is compared with."""

    graph: bytes
    typical: np.ndarray

    def predict(self, x: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Log-odds float64 (rows,) of features float32 (rows, features) and steps (rows, steps + 1, CHANNELS)."""
        found = np.empty(len(x))
        for start in range(0, len(x), TOGETHER):
            some = slice(start, start + TOGETHER)
            found[some] = self._run(_filled(x[some]), _filled(steps[some]))[: len(x[some])]
        return found

    def contributions(self, x: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """float64 (rows, features + 1): by how much the log-odds fall when a feature is as usual, one after the other,
        and in the last column when the customer's earlier transactions are not there.

        Occlusion (Zeiler & Fergus, 2014, arXiv:1311.2901): what two features say together counts for both or neither.
        """
        features, found = x.shape[1], np.empty((len(x), x.shape[1] + 1))
        for i in range(len(x)):
            changed = np.repeat(x[i : i + 1], features + 1, axis=0)
            places = np.arange(features)
            changed[places + 1, places] = self.typical
            told = self._run(changed, steps[i : i + 1])
            alone = np.zeros_like(steps[i : i + 1])
            alone[:, -1] = steps[i, -1]
            found[i, :-1] = told[0] - told[1:]
            found[i, -1] = told[0] - self._run(x[i : i + 1], alone)[0]
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """To be written down beside the graph."""
        return {"typical": self.typical}

    def _run(self, x: np.ndarray, steps: np.ndarray) -> np.ndarray:
        (found,) = self._session.run(None, {"steps": steps, "features": x})
        return found.astype(np.float64)

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the same sums in the same order on every machine
        return onnxruntime.InferenceSession(self.graph, options, providers=["CPUExecutionProvider"])


def _filled(values: np.ndarray) -> np.ndarray:
    """Values (rows, ...) and so many of 0 that a multiple of `BLOCK` is there."""
    more = -len(values) % BLOCK
    return np.concatenate([values, np.zeros((more, *values.shape[1:]), values.dtype)]) if more else values
