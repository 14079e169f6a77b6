"""Pre-training of a text encoder on one's own texts, without labels: guess the tokens that are hidden.

Masked language model (Devlin et al., 2019, arXiv:1810.04805) on texts of the domain before the task (Gururangan et
al., 2020, arXiv:2004.10964). Works on an encoder that is there and on a small one from nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from common.config import Strict
from common.errors import UsageError
from common.files import sha256
from common.text.encoder import ATTENTION, Encoder, transformers
from common.text.tokens import Tokens
from common.text.units import Kind, units, windows
from common.training.loop import History, Optimisation, fit_dataset

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MASKED, RANDOM = 0.8, 0.1
"""Of the tokens to be guessed: shares shown as the mask and as a random token; the others stay (Devlin et al.)."""


class Masking(Strict):
    """How an encoder is pre-trained; the defaults are for some thousand notes and an encoder that is there.

    `backbone_rate` is for such a one; an encoder from nothing learns at the full rate.
    """

    share: float = Field(0.2, gt=0, lt=1, description="of the tokens that are to be guessed")
    kind: Kind = "words"
    longest: int = Field(96, ge=4, description="words or characters of a window")
    optimisation: Optimisation = Optimisation(epochs=4, batch=32, learning_rate=1e-3, largest_gradient=1.0)


class Small(Strict):
    """Size of an encoder from nothing; the defaults learn from some hundred thousand characters in minutes."""

    width: int = Field(128, ge=8)
    layers: int = Field(3, ge=1)
    heads: int = Field(4, ge=1)
    vocabulary: int = Field(8000, ge=10, description="tokens at most")
    longest: int = Field(256, ge=8, description="tokens of a window at most")


class MaskedModel(nn.Module):
    """Ids and what to guess, int64 (batch, 2, tokens), to logits (guesses, vocabulary), in the order of the batch.

    The last layer of the head is the encoder's own table of embeddings.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.net, self.pad = encoder.net, encoder.tokens.pad
        table = encoder.net.get_input_embeddings().weight
        self.head = nn.Sequential(nn.Linear(encoder.width, table.shape[1]), nn.GELU(), nn.LayerNorm(table.shape[1]))
        self.bias = nn.Parameter(torch.zeros(len(table)))

    def forward(self, batch: Tensor) -> Tensor:
        """Rows are run as long as the longest of them."""
        ids, guessed = batch.unbind(1)
        most = int((ids != self.pad).sum(1).max())
        ids, guessed = ids[:, :most], guessed[:, :most]
        states = self.net(input_ids=ids, attention_mask=(ids != self.pad).long()).last_hidden_state
        table = self.net.get_input_embeddings().weight
        return functional.linear(self.head(states[guessed.bool()]), table, self.bias)


def pretrain_masked(
    encoder: Encoder,
    texts: Sequence[str],
    settings: Masking,
    *,
    seed: int,
    valid: Sequence[str] = (),
    checkpoint: Path | None = None,
) -> History:
    """Train `encoder` in place on texts of any length; it ends frozen, in evaluation.

    The metric, on `valid`, is the share of hidden tokens that are guessed right, the same tokens every time. With
    `checkpoint` a run that was stopped goes on (see `fit_dataset`). Raises `UsageError` without a text, and for a
    tokenizer that has no mask.
    """
    examples = _Hidden(encoder.tokens, texts, settings)
    kept = _Hidden(encoder.tokens, valid, settings) if valid else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MaskedModel(encoder)
        fixed = [kept[row] for row in range(len(kept))] if kept else []
    encoder.net.requires_grad_(True)

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(logits, target[target >= 0])

    def guessed(_: nn.Module) -> float:
        right = 0
        for start in range(0, len(fixed), 32):
            rows, targets = (torch.stack(part) for part in zip(*fixed[start : start + 32], strict=True))
            device = model.bias.device
            right += int((model(rows.to(device)).argmax(1).cpu() == targets[targets >= 0]).sum())
        return right / max(sum(int((target >= 0).sum()) for _, target in fixed), 1)

    history = fit_dataset(
        model,
        examples,
        loss,
        settings.optimisation,
        seed=seed,
        # At a tenth of the rate an encoder from nothing guesses by frequency alone for a dozen epochs.
        backbone=None if encoder.fresh else encoder.net,
        validate=guessed if fixed else None,
        checkpoint=checkpoint,
        run=[settings.model_dump(mode="json"), sha256("\0".join([encoder.tokens.state(), *texts]).encode())],
    )
    encoder.fresh = False
    encoder.requires_grad_(False).eval()
    return history


def new_encoder(texts: Sequence[str], kind: Kind, settings: Small, *, seed: int) -> Encoder:
    """A small encoder with random weights, and a tokenizer learned from texts: sub-words, or single characters."""
    tokenizer = _tokenizer(kind)
    if kind == "words":
        trainer: Any = trainers.BpeTrainer(vocab_size=settings.vocabulary, special_tokens=SPECIAL)
    else:
        trainer = trainers.WordLevelTrainer(vocab_size=settings.vocabulary, min_frequency=2, special_tokens=SPECIAL)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokens = Tokens(tokenizer.to_str().encode(), longest=settings.longest)
    library = transformers()
    config = library.BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=4 * settings.width,
        max_position_embeddings=settings.longest,
        initializer_range=0.5 * settings.width**-0.5,  # BERT's 0.02 for its 768: narrower nets start too weak with it
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = library.AutoModel.from_config(config, attn_implementation=ATTENTION)
    return Encoder(net, tokens, fresh=True).eval().requires_grad_(False)


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Write a folder whose path `load_encoder` takes as a name: configuration, tokenizer, weights as safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder.net.save_pretrained(folder, safe_serialization=True)
    (folder / "tokenizer.json").write_text(encoder.tokens.state(), encoding="utf-8")


def _tokenizer(kind: Kind) -> Tokenizer:
    if kind == "words":
        # The trainer of word pieces numbers equals by chance: the same texts would not give the same encoder.
        tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return tokenizer
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    no_space = normalizers.Replace(Regex(r"\s+"), "")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), no_space])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return tokenizer


class _Hidden(Dataset[tuple[Tensor, Tensor]]):
    """Windows of texts with tokens hidden anew every time: ids and what to guess (2, tokens), and the truth or -1."""

    def __init__(self, tokens: Tokens, texts: Sequence[str], settings: Masking) -> None:
        parts = [part for text in texts for part in _parts(text, settings)]
        if not parts:
            raise UsageError("no text to pre-train on", got=f"{len(texts)} texts", expected="one that is not empty")
        self.ids = torch.from_numpy(tokens(parts))
        mask = tokens.id_of("[MASK]", "<mask>")
        if mask is None:
            raise UsageError("cannot hide tokens: the tokenizer has no mask", expected="a token [MASK] or <mask>")
        self.mask, self.size, self.share = mask, tokens.size, settings.share
        self.special = torch.tensor([tokens.pad, *tokens.frame])

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        ids = self.ids[row]
        ordinary = ~torch.isin(ids, self.special)
        chance = torch.rand(len(ids))
        chosen = ordinary & (chance <= torch.where(ordinary, chance, 1.0).kthvalue(self._count(ordinary)).values)
        how = torch.rand(len(ids))
        shown = torch.where(chosen & (how < MASKED), self.mask, ids)
        other = torch.randint(self.size, ids.shape)
        shown = torch.where(chosen & (how >= MASKED) & (how < MASKED + RANDOM), other, shown)
        return torch.stack([shown, chosen.long()]), torch.where(chosen, ids, -1)

    def _count(self, ordinary: Tensor) -> int:
        return max(round(self.share * int(ordinary.sum())), 1)


def _parts(text: str, settings: Masking) -> list[str]:
    spans = units(text, settings.kind)
    cuts = windows(text, spans, settings.longest)
    return [text[spans[cut.start][0] : spans[cut.stop - 1][1]] for cut in cuts]
