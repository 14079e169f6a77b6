"""Sentence vectors for a classifier: all layers of an encoder, frozen or tuned, cut to their main directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from common.errors import ModelUnavailable
from common.text.onnx_encoder import OnnxEncoder
from common.text.tokens import Tokens

if TYPE_CHECKING:
    from common.text.encoder import Encoder

LONGEST = 64
"""Tokens of an utterance that are read."""
FILES = ("encoder.onnx", "tokenizer.json")


class Layers(Protocol):
    """What encodes."""

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Of all layers, the embeddings first: float32 (texts, layers, width)."""


@dataclass(frozen=True)
class Both:
    """The layers of two encoders one after the other."""

    first: Layers
    second: Layers

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Without the second's embeddings."""
        return np.concatenate([self.first.vectors(texts), self.second.vectors(texts)[:, 1:]], axis=1)


@dataclass(frozen=True)
class Space:
    """Texts to float32 (texts, size): the layers' vectors of length 1 on principal `axes` (layers * width, size).

    `known` keeps what was asked for in training.
    """

    encoder: Layers
    files: Mapping[str, bytes]
    mean: np.ndarray
    axes: np.ndarray
    known: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Mapping[str, bytes], arrays: Mapping[str, np.ndarray]) -> Space:
        """What a bundle keeps."""
        return cls(opened(files, FILES), {}, arrays["mean"], arrays["axes"])

    @classmethod
    def fit(cls, files: Mapping[str, bytes], texts: Sequence[str], size: int) -> Space:
        """Principal directions of the layers of texts, without labels; the texts are known then."""
        return cls.of_encoder(opened(files, FILES), files, texts, size)

    @classmethod
    def of_encoder(cls, encoder: Layers, files: Mapping[str, bytes], texts: Sequence[str], size: int) -> Space:
        """The same of an encoder that is open."""
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
    from common.text.export import export_onnx

    encoder, tokenizer = backbone_of(backbone)
    return dict(zip(FILES, (export_onnx(encoder, layers=True), tokenizer), strict=True))


def backbone_of(name: str) -> tuple[Encoder, bytes]:
    """An encoder and its `tokenizer.json`. Raises `ModelUnavailable` also for one that reads less than `LONGEST`."""
    from common.text.encoder import load_encoder
    from common.text.hub import resolve

    encoder = load_encoder(name, longest=LONGEST)
    if encoder.tokens.longest < LONGEST:
        got = f"{encoder.tokens.longest} tokens"
        raise ModelUnavailable("reads too little of a text", where=name, got=got, expected=f"at least {LONGEST}")
    return encoder, (resolve(name) / "tokenizer.json").read_bytes()


def opened(files: Mapping[str, bytes], names: Sequence[str]) -> OnnxEncoder:
    """The encoder of a graph and a tokenizer."""
    graph, tokenizer = (files[name] for name in names)
    return OnnxEncoder(graph, Tokens(tokenizer, longest=LONGEST))


def _joined(encoder: Layers, texts: Sequence[str]) -> np.ndarray:
    """Vectors of all layers but the embeddings (texts, layers * width), of length 1 in all."""
    layers = encoder.vectors(texts)[:, 1:]
    layers = layers / np.maximum(np.linalg.norm(layers, axis=2, keepdims=True), 1e-12)
    return (layers / np.sqrt(layers.shape[1])).reshape(len(texts), -1).astype(np.float32)
