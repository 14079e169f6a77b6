"""Fine-tuning an encoder for classes: all its weights, or LoRA; cross-entropy, and supervised contrast when asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from common.config import Strict
from common.errors import UsageError
from common.text.encoder import Encoder
from common.training.loop import History, Optimisation, fit_dataset


class Tuning(Strict):
    """How an encoder is tuned; the defaults are for thousands of short texts."""

    mode: Literal["full", "lora"] = "full"
    top: int | None = Field(None, ge=1, description="layers that are tuned, from the last; none: all, and embeddings")
    rank: int = Field(16, ge=1, description="rank of LoRA's updates (Hu et al., 2022)")
    smoothing: float = Field(0.1, ge=0, lt=1, description="of the labels (Szegedy et al., 2016)")
    contrast: float = Field(0.0, ge=0, description="weight of the supervised contrast (Khosla et al., 2020)")
    temperature: float = Field(0.1, gt=0, description="of that contrast")
    outliers: float = Field(0.0, ge=0, description="weight of vectors mixed from two texts (Zhan et al., 2021)")
    scale: float = Field(16.0, gt=0, description="logits are this times the head's product with a vector of length 1")
    optimisation: Optimisation = Optimisation(epochs=8, batch=64, learning_rate=2e-3, largest_gradient=1.0)


class Classifier(nn.Module):
    """Token ids to (logits (texts, classes), vectors (texts, width)); in training with logits of mixed vectors too."""

    def __init__(self, encoder: Encoder, classes: int, scale: float) -> None:
        super().__init__()
        self.encoder, self.scale = encoder, scale
        self.head = nn.Linear(encoder.width, classes)

    def forward(self, ids: Tensor) -> tuple[Tensor, ...]:
        """Of a batch; the texts run in chunks of similar length. A mixture is of a text and the one before it."""
        vectors = self.encoder(ids)
        if not self.training:
            return self.logits(vectors), vectors
        share = torch.empty(len(vectors), 1, device=vectors.device).uniform_(0.3, 0.7)
        mixed = functional.normalize(share * vectors + (1 - share) * vectors.roll(1, 0), dim=1)
        return self.logits(vectors), vectors, self.logits(mixed)

    def logits(self, vectors: Tensor) -> Tensor:
        """Of vectors (texts, width) of length 1."""
        return self.scale * self.head(vectors)


def tune(
    encoder: Encoder,
    texts: Sequence[str],
    labels: np.ndarray,
    settings: Tuning,
    *,
    seed: int,
    valid: tuple[Sequence[str], np.ndarray] | None = None,
    start: np.ndarray | None = None,
) -> tuple[Classifier, History]:
    """Tune `encoder` in place on texts and labels int (texts,) from 0; it ends frozen, in evaluation.

    With `valid` (texts, labels) the weights of the epoch with the best accuracy there are kept. The head begins at the
    classes' mean vectors, or at `start` (classes, width). With `outliers` the last class is what belongs to no other:
    mixtures of two classes' texts are taught as such, beside its own texts. LoRA's updates are merged into the weights
    at the end. Raises `UsageError` without texts or when lengths differ.
    """
    if not len(texts) or len(texts) != len(labels):
        raise UsageError(
            "texts and labels do not fit", got=f"{len(texts)} and {len(labels)}", expected="as many of each"
        )
    classes = int(max(labels.max(), valid[1].max() if valid else 0)) + 1
    if start is None:
        start = class_means(encoder.vectors(texts), labels, classes)
    model = Classifier(encoder, classes, settings.scale)
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(start))
        model.head.bias.zero_()
    if settings.mode == "lora":
        encoder.net = with_lora(encoder.net, settings.rank, seed)
    else:
        for part in encoder.last_layers(settings.top):
            part.requires_grad_(True)
    examples = TensorDataset(torch.from_numpy(encoder.tokens(texts)), torch.from_numpy(labels.astype(np.int64)))

    def loss(found: tuple[Tensor, ...], target: Tensor) -> Tensor:
        logits, vectors, mixed = found
        value = functional.cross_entropy(logits, target, label_smoothing=settings.smoothing)
        if settings.contrast:
            value = value + settings.contrast * contrast(vectors, target, settings.temperature)
        if settings.outliers:
            between = target != target.roll(1)
            outside = torch.full_like(target, classes - 1)
            value = value + settings.outliers * functional.cross_entropy(mixed[between], outside[between])
        return value

    def accuracy(_: nn.Module) -> float:
        assert valid
        return float((probabilities(model, valid[0]).argmax(1) == valid[1]).mean())

    validate = accuracy if valid else None
    history = fit_dataset(
        model, examples, loss, settings.optimisation, seed=seed, backbone=encoder.net, validate=validate
    )
    if settings.mode == "lora":
        encoder.net = encoder.net.merge_and_unload()
    model.requires_grad_(False)
    return model, history


def probabilities(model: Classifier, texts: Sequence[str]) -> np.ndarray:
    """Of the classes, float32 (texts, classes)."""
    vectors = torch.from_numpy(model.encoder.vectors(texts))
    device = model.head.weight.device
    with torch.no_grad():
        return torch.softmax(model.logits(vectors.to(device)), dim=1).cpu().numpy()


def class_means(vectors: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """The mean vector of every class made length 1 (classes, width); zero for a class without a text."""
    means = np.zeros((classes, vectors.shape[1]), np.float32)
    np.add.at(means, labels, vectors)
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)


def contrast(vectors: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss of vectors (texts, width) of length 1; texts without a partner do not count."""
    likeness = vectors @ vectors.T / temperature
    own = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    partners = (labels[:, None] == labels[None, :]) & ~own
    logs = likeness - likeness.masked_fill(own, -torch.inf).logsumexp(1, keepdim=True)
    counts = partners.sum(1)
    means = (logs * partners).sum(1) / counts.clamp(min=1)
    return -means[counts > 0].mean() if bool((counts > 0).any()) else vectors.sum() * 0


def with_lora(net: nn.Module, rank: int, seed: int) -> nn.Module:
    """A net whose own weights stay, with updates of low rank beside them; `.merge_and_unload()` adds them up."""
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.05, target_modules="all-linear")
        return get_peft_model(net, config)
