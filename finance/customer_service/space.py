"""Sentence vectors for a classifier: all layers of an encoder, frozen or tuned, cut to their main directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from common.text.onnx_encoder import OnnxEncoder
from common.text.tokens import Tokens

LONGEST = 64
"""Tokens of an utterance that are read."""
FILES = ("encoder.onnx", "tokenizer.json")


@dataclass(frozen=True)
class Space:
    """Texts to float32 (texts, size): the layers' vectors of length 1 on principal `axes` (layers * width, size).

    `known` keeps what was asked for in training.
    """

    encoder: OnnxEncoder
    files: Mapping[str, bytes]
    mean: np.ndarray
    axes: np.ndarray
    known: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Mapping[str, bytes], arrays: Mapping[str, np.ndarray]) -> Space:
        """What a bundle keeps."""
        graph, tokenizer = (files[name] for name in FILES)
        return cls(OnnxEncoder(graph, Tokens(tokenizer, longest=LONGEST)), {}, arrays["mean"], arrays["axes"])

    @classmethod
    def fit(cls, files: Mapping[str, bytes], texts: Sequence[str], size: int) -> Space:
        """Principal directions of the layers of texts, without labels; the texts are known then."""
        graph, tokenizer = (files[name] for name in FILES)
        encoder = OnnxEncoder(graph, Tokens(tokenizer, longest=LONGEST))
        distinct = list(dict.fromkeys(texts))
        layers = _joined(encoder, distinct)
        mean = layers.mean(axis=0)
        centred = layers - mean
        axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :size]
        axes = np.ascontiguousarray(axes * np.where(axes.sum(axis=0) < 0, -1, 1), np.float32)
        return cls(encoder, files, mean, axes, dict(zip(distinct, centred @ axes, strict=True)))

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """The coordinates of texts."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        found = dict(zip(new, (_joined(self.encoder, new) - self.mean) @ self.axes, strict=True)) if new else {}
        rows = [found[text] if text in found else self.known[text] for text in texts]
        return np.stack(rows) if rows else np.empty((0, self.axes.shape[1]), np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """For a bundle, beside `files`."""
        return {"mean": self.mean, "axes": self.axes}


def frozen(backbone: str) -> dict[str, bytes]:
    """The files of a backbone as it comes; raises what `common.text.hub.resolve` raises."""
    from common.text.encoder import load_encoder
    from common.text.export import export_onnx
    from common.text.hub import resolve

    tokenizer = (resolve(backbone) / "tokenizer.json").read_bytes()
    return dict(zip(FILES, (export_onnx(load_encoder(backbone, longest=LONGEST), layers=True), tokenizer), strict=True))


def _joined(encoder: OnnxEncoder, texts: Sequence[str]) -> np.ndarray:
    """Vectors of all layers but the embeddings (texts, layers * width), of length 1 in all."""
    layers = encoder.vectors(texts)[:, 1:]
    layers = layers / np.maximum(np.linalg.norm(layers, axis=2, keepdims=True), 1e-12)
    return (layers / np.sqrt(layers.shape[1])).reshape(len(texts), -1).astype(np.float32)
