"""Classes for texts that nobody labelled, from a few that somebody did: an encoder tuned on these, and neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.text.encoder import load_encoder
from common.text.few_shot import Spreading, spread
from common.text.tune import Tuning, tune
from common.training.loop import Optimisation

FEW = Tuning(
    contrast=0.5,
    optimisation=Optimisation(epochs=12, batch=64, learning_rate=2e-3, backbone_rate=0.05, largest_gradient=1.0),
)
"""For ten texts a class."""


def chances_of_unlabelled(
    backbone: str,
    texts: Sequence[str],
    labels: np.ndarray,
    unlabelled: Sequence[str],
    *,
    seed: int,
    tuning: Tuning = FEW,
    spreading: Spreading | None = None,
    longest: int = 48,
) -> np.ndarray:
    """Chances float (unlabelled, classes), for a classifier that then learns from all texts.

    `labels` int (texts,) are classes from 0. The layers of the encoder as it comes and tuned on `texts` decide together
    who is whose neighbour (see `spread`). Raises what `load_encoder` and `spread` raise.
    """
    encoder = load_encoder(backbone, longest=longest)
    everything = [*texts, *unlabelled]
    frozen = joined(encoder.vectors(everything, layers=True))
    tune(encoder, texts, labels, tuning, seed=seed)
    both = np.hstack([frozen, joined(encoder.vectors(everything, layers=True))]) / np.float32(np.sqrt(2))
    known = np.concatenate([labels, np.full(len(unlabelled), -1, labels.dtype)])
    return spread(both, known, spreading)[len(texts) :]


def joined(layers: np.ndarray) -> np.ndarray:
    """Vectors float32 (texts, layers, width) of all layers but the embeddings as one of length 1 (texts, size)."""
    layers = layers[:, 1:] / np.maximum(np.linalg.norm(layers[:, 1:], axis=2, keepdims=True), 1e-12)
    return (layers / np.float32(np.sqrt(layers.shape[1]))).reshape(len(layers), -1)
