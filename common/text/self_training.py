"""Classes for texts that nobody labelled, from a few that somebody did: an encoder tuned on these, and neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.errors import UsageError
from common.text.encoder import load_encoder
from common.text.few_shot import Spreading, spread
from common.text.tune import Classifier, Tuning, probabilities, tune
from common.training.loop import Optimisation

FEW = Tuning(
    contrast=0.5,
    optimisation=Optimisation(epochs=12, batch=64, learning_rate=2e-3, backbone_rate=0.05, largest_gradient=1.0),
)
"""For ten texts a class."""


def self_train(
    backbone: str,
    texts: Sequence[str],
    labels: np.ndarray,
    unlabelled: Sequence[str],
    *,
    seed: int,
    tuning: Tuning = FEW,
    spreading: Spreading | None = None,
    longest: int = 64,
) -> tuple[Classifier, np.ndarray]:
    """The encoder tuned on `texts`, and chances float (unlabelled, classes) for one that then learns from all.

    `labels` int (texts,) are classes from 0. The tuned encoder gives the first guess; its layers and those of the
    encoder as it comes decide together who is whose neighbour (see `spread`). Raises `UsageError` when a class has no
    text, and what `load_encoder` raises.
    """
    if missing := sorted(set(range(int(labels.max(initial=0)) + 1)) - set(labels.tolist())):
        raise UsageError("a class has no labelled text", got=f"none of class {missing[0]}", expected="one at least")
    encoder = load_encoder(backbone, longest=longest)
    everything = [*texts, *unlabelled]
    frozen = joined(encoder.vectors(everything, layers=True))
    model, _ = tune(encoder, texts, labels, tuning, seed=seed)
    both = np.hstack([frozen, joined(encoder.vectors(everything, layers=True))]) / np.float32(np.sqrt(2))
    known = np.concatenate([labels, np.full(len(unlabelled), -1, labels.dtype)])
    guess = probabilities(model, unlabelled)
    return model, spread(both, known, guess, spreading)[len(texts) :]


def joined(layers: np.ndarray) -> np.ndarray:
    """Vectors float32 (texts, layers, width) of all layers but the embeddings as one of length 1 (texts, size)."""
    layers = layers[:, 1:] / np.maximum(np.linalg.norm(layers[:, 1:], axis=2, keepdims=True), 1e-12)
    return (layers / np.float32(np.sqrt(layers.shape[1]))).reshape(len(layers), -1)
