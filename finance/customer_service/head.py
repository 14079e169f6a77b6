"""An encoder tuned to tell the classes apart, and its head: a second opinion beside the kernel on the frozen one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax

from common.text.onnx_encoder import OnnxEncoder
from finance.customer_service.space import backbone_of, opened

if TYPE_CHECKING:
    from finance.customer_service.config import Config

FILES = ("tuned.onnx", "tuned-tokenizer.json")


@dataclass(frozen=True)
class Head:
    """Texts to log-probabilities (texts, classes): `weight` float32 (classes, width), `bias` (classes,), scaled in."""

    encoder: OnnxEncoder
    files: Mapping[str, bytes]
    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Of the classes, sorted by name as the kernel's."""
        found: np.ndarray = log_softmax(self.encoder.vectors(texts) @ self.weight.T + self.bias, axis=1)
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """For a bundle, beside `files`."""
        return {"head_weight": self.weight, "head_bias": self.bias}

    @classmethod
    def of(cls, files: Mapping[str, bytes], arrays: Mapping[str, np.ndarray]) -> Head:
        """What a bundle keeps."""
        return cls(opened(files, FILES), {}, arrays["head_weight"], arrays["head_bias"])


def tuned(config: Config, texts: Sequence[str], labels: np.ndarray) -> Head:
    """Tune the backbone on texts and labels, object (texts,), an empty one out of scope."""
    from common.text.export import export_onnx
    from common.text.tune import Tuning, tune
    from common.training.loop import Optimisation

    how = config.tuning
    rate = Optimisation(
        epochs=how.epochs, batch=64, learning_rate=how.learning_rate, backbone_rate=0.1, largest_gradient=1.0
    )
    classes, place = np.unique(labels, return_inverse=True)
    outside = int(classes[0] == "")
    place = (place - outside) % len(classes)  # what is out of scope must be the last class there, and is the first here
    rows = np.concatenate([np.arange(len(texts)), *[np.flatnonzero(labels == "")] * (how.repeat - 1)])
    settings = Tuning(
        mode="lora" if config.model == "lora" else "full",
        outliers=how.outliers if outside else 0.0,
        optimisation=rate,
    )
    encoder, tokenizer = backbone_of(config.backbone)
    model, _ = tune(encoder, [texts[row] for row in rows], place[rows], settings, seed=config.seed)
    weight, bias = (model.scale * part.detach().cpu().numpy() for part in (model.head.weight, model.head.bias))
    order = (np.arange(len(classes)) - outside) % len(classes)
    files = dict(zip(FILES, (export_onnx(encoder), tokenizer), strict=True))
    return Head(opened(files, FILES), files, weight[order], bias[order])
