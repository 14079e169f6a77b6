"""Where the data comes from: Wisconsin breast cancer, shipped with scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_breast_cancer

from common.data.split import stratified_split
from common.files import sha256

FIELDS = {"radius": "mean radius", "texture": "mean texture", "smoothness": "mean smoothness", "area": "mean area"}


@dataclass(frozen=True)
class Tumours:
    """Measurements `x`, shape (n, 4) in the order of `FIELDS`, and `y`, 1 for malignant."""

    x: np.ndarray
    y: np.ndarray

    @property
    def sha256(self) -> str:
        """The fingerprint of the data."""
        return sha256(self.x.tobytes() + self.y.tobytes())

    def split(self, seed: int) -> dict[str, Tumours]:
        """train and test; equal shares of malignant in both."""
        parts = stratified_split(self.y, None, {"train": 0.7, "test": 0.3}, seed)
        return {name: Tumours(self.x[rows], self.y[rows]) for name, rows in parts.items()}


def load() -> Tumours:
    """All 569 tumours."""
    raw = load_breast_cancer()
    columns = [list(raw.feature_names).index(name) for name in FIELDS.values()]
    return Tumours(np.ascontiguousarray(raw.data[:, columns]), 1 - raw.target)  # scikit-learn counts 1 as benign
