"""Token models: columns of a text, letters of words, a pretrained encoder or none, a bidirectional LSTM, and a CRF.

After Lample et al. (2016, arXiv:1603.01360) and Ma & Hovy (2016, arXiv:1603.01354).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from common.config import Strict
from common.errors import UsageError
from common.text.columns import LETTERS, PAD, RARE, Columns
from common.text.crf import Crf, log_likelihood
from common.text.encoder import Encoder
from common.text.reading import Reader, stacked
from common.text.tags import Mark, agreement, span_scores
from common.text.tune import with_lora
from common.text.vectors import context_vectors
from common.training.loop import History, Optimisation, fit_dataset

CHUNK = 16
"""Windows of similar length run together."""


class Tagging(Strict):
    """Size and training of a token model; the defaults are for some thousand marks and minutes on one core."""

    unit: int = Field(96, ge=4, description="width of a unit's embedding")
    form: int = Field(32, ge=4, description="width of the embedding of each other form")
    place: int = Field(4, ge=1, description="width of a place in the dictionary, for each label")
    memory: int = Field(16, ge=1, description="width of what a memory says, for each size")
    filters: int = Field(64, ge=4, description="of the convolution over a word's letters")
    hidden: int = Field(128, ge=4, description="of the LSTM, each way")
    layers: int = Field(1, ge=0, description="of the LSTM; 0: none")
    dropout: float = Field(0.4, ge=0, lt=1)
    forget: float = Field(0.1, ge=0, lt=1, description="share of values that are hidden in training")
    mode: Literal["full", "lora", "frozen"] = Field("full", description="how an encoder is tuned")
    rank: int = Field(16, ge=1, description="rank of LoRA's updates (Hu et al., 2022)")
    optimisation: Optimisation = Optimisation(epochs=20, batch=32, learning_rate=4e-3, largest_gradient=1.0)


class Tagger(nn.Module):
    """Rows int64 (windows, rows, columns) by a `Reader` to (scores (windows, rows, tags), transitions)."""

    def __init__(self, reader: Reader, settings: Tagging, encoder: Encoder | None = None) -> None:
        super().__init__()
        columns = reader.columns
        sizes, places, memory = columns.sizes, columns.places, len(columns.memory.sizes)
        forms = len(sizes) - places - memory
        widths = [settings.unit, *[settings.form] * (forms - 1)]
        widths += [*[settings.place] * places, *[settings.memory] * memory]
        self.forms, self.forget, self.lead = forms, settings.forget, 0
        self.tables = nn.ModuleList(
            [nn.Embedding(size, width, padding_idx=PAD) for size, width in zip(sizes, widths, strict=True)]
        )
        width = sum(widths)
        self.letters = _Letters(columns.letters, settings.filters) if columns.letters else None
        width += settings.filters if self.letters else 0
        self.net: nn.Module | None = None
        if encoder:
            self.net, self.lead = encoder.net, 2
            self.frame = encoder.tokens.frame
            self.mix = nn.Parameter(torch.zeros(encoder.layers))
            width += encoder.width
        self.dropout = _Locked(settings.dropout)
        steps = [width, *[2 * settings.hidden] * settings.layers]
        self.context = nn.ModuleList([_BothWays(size, settings.hidden) for size in steps[:-1]])
        self.score = nn.Linear(steps[-1], len(reader.tags))
        self.crf = Crf(reader.tags.allowed)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Of a batch: windows run in chunks of similar length, each only as long as it must be."""
        lengths = (rows[:, :, 0] != PAD).sum(1)
        order = lengths.argsort()
        longest = int(lengths.max())
        parts = []
        for some in order.split(CHUNK):
            scores = self.emit(rows[some, : int(lengths[some].max())])
            parts.append(nn.functional.pad(scores, (0, 0, 0, longest - scores.shape[1])))
        return torch.cat(parts)[order.argsort()], self.crf()

    def emit(self, rows: Tensor) -> Tensor:
        """Scores of tags, of one chunk as it is; what stands behind a window changes nothing."""
        lengths = (rows[:, :, 0] != PAD).sum(1)
        columns = rows[:, :, self.lead :]
        values = columns[:, :, : len(self.tables)]
        if self.training and self.forget:
            hidden = (torch.rand(values.shape, device=values.device) < self.forget) & (values != PAD)
            instead = torch.full_like(values[0, 0], PAD)
            instead[: self.forms] = RARE
            values = torch.where(hidden, instead, values)
        parts = [table(values[:, :, at]) for at, table in enumerate(self.tables)]
        if self.letters:
            parts.append(self.letters(columns[:, :, len(self.tables) :]))
        if self.net is not None:
            parts.append(self._encoded(rows[:, :, 0], lengths))
        states = self.dropout(torch.cat(parts, dim=2))
        for both in self.context:
            states = self.dropout(both(states, lengths))
        return self.score(states)

    def _encoded(self, pieces: Tensor, lengths: Tensor) -> Tensor:
        """Mixed layers (Peters et al., 2018) of sub-words, with the encoder's special tokens around them."""
        assert self.net is not None
        ids = nn.functional.pad((pieces - 1).clamp(min=0), (1, 1))
        places = torch.arange(ids.shape[1], device=ids.device)[None, :]
        ids = torch.where(places == 0, self.frame[0], ids)
        ids = torch.where(places == lengths[:, None] + 1, self.frame[1], ids)
        seen = (places <= lengths[:, None] + 1).long()
        found = self.net(input_ids=ids, attention_mask=seen, output_hidden_states=True)
        layers = found.hidden_states or (found.last_hidden_state,)  # a net of embeddings alone names no layers
        shares = torch.softmax(self.mix, dim=0)
        return sum(share * layer for share, layer in zip(shares, layers, strict=True))[:, 1:-1]


def new_tagger(
    reader: Reader,
    settings: Tagging,
    *,
    seed: int,
    encoder: Encoder | None = None,
    vectors: Sequence[np.ndarray] = (),
) -> Tagger:
    """A tagger with weights by `seed`, its forms' embeddings by `form_vectors` where there are some.

    An encoder's own weights stay as they are and are not copied.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tagger = Tagger(reader, settings, encoder)
    for table, own in zip(tagger.tables, vectors, strict=False):
        table.weight.data.copy_(torch.from_numpy(own))
    return tagger


def form_vectors(columns: Columns, texts: Sequence[str], settings: Tagging) -> list[np.ndarray]:
    """Of every column of forms the `context_vectors` of its values in texts, as wide as their embeddings."""
    rows = [columns.forms(text) for text in texts]
    forms = rows[0].shape[1] if rows else 0
    widths = [settings.unit, *[settings.form] * (forms - 1)]
    return [
        context_vectors([(own[:, at], own[:, 0]) for own in rows], columns.sizes[at], width)
        for at, width in enumerate(widths)
    ]


def train_tagger(
    tagger: Tagger,
    reader: Reader,
    texts: Sequence[str],
    marks: Sequence[Sequence[Mark]],
    settings: Tagging,
    *,
    seed: int,
    valid: tuple[Sequence[str], Sequence[Sequence[Mark]]] | None = None,
) -> History:
    """Train in place on texts and their marks, by likelihood; the tagger ends frozen, in evaluation.

    The reader's columns were fitted on these very texts. With `valid` the weights of the epoch with the best F1 of
    whole marks there are kept. An encoder is tuned in place by `mode`, with `backbone_rate`. Raises `UsageError`
    without texts or when lengths differ.
    """
    if not len(texts) or len(texts) != len(marks):
        raise UsageError("texts and marks do not fit", got=f"{len(texts)} and {len(marks)}", expected="as many of each")
    pairs = [
        (window.rows, window.targets(reader.tags, own))
        for text, own in zip(texts, marks, strict=True)
        for window in reader.windows(text, own)
    ]
    rows = stacked([own for own, _ in pairs])
    targets = stacked([own + 1 for _, own in pairs]) - 1
    examples = TensorDataset(torch.from_numpy(rows), torch.from_numpy(targets))

    def loss(found: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        scores, transitions = found
        target = target[:, : scores.shape[1]]
        return -log_likelihood(scores, transitions, target).sum() / (target >= 0).sum()

    def f1(_: nn.Module) -> float:
        assert valid
        return span_scores(agreement(valid[1], predict(tagger, reader, valid[0])))["f1"]

    validate = f1 if valid else None
    if tagger.net is not None:
        tagger.net.requires_grad_(settings.mode == "full")
        if settings.mode == "lora":
            tagger.net = with_lora(tagger.net, settings.rank, seed)
    history = fit_dataset(
        tagger, examples, loss, settings.optimisation, seed=seed, backbone=tagger.net, validate=validate
    )
    if tagger.net is not None and settings.mode == "lora":
        tagger.net = tagger.net.merge_and_unload()
    tagger.requires_grad_(False)
    return history


def predict(tagger: Tagger, reader: Reader, texts: Sequence[str]) -> list[list[Mark]]:
    """Marks of every text."""
    device = tagger.crf.weights.device
    was = tagger.training
    tagger.eval()

    def emit(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return tagger.emit(torch.from_numpy(rows).to(device)).float().cpu().numpy()

    found = reader.marks(texts, emit, tagger.crf().detach().float().cpu().numpy())
    tagger.train(was)
    return found


class _Locked(nn.Module):
    """Dropout of the same values at every row of a window (Gal & Ghahramani, 2016, arXiv:1512.05287)."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, states: Tensor) -> Tensor:
        if not self.training or not self.share:
            return states
        return states * nn.functional.dropout(torch.ones_like(states[:, :1]), self.share)


class _Letters(nn.Module):
    """Letters (batch, units, LETTERS) to the largest value of each filter over three in a row."""

    def __init__(self, letters: int, filters: int) -> None:
        super().__init__()
        self.table = nn.Embedding(letters, 32, padding_idx=PAD)
        self.filter = nn.Conv1d(32, filters, 3, padding=1)

    def forward(self, letters: Tensor) -> Tensor:
        batch, count = letters.shape[:2]
        rows = self.table(letters.reshape(batch * count, LETTERS)).transpose(1, 2)
        return torch.relu(self.filter(rows)).amax(2).reshape(batch, count, -1)


class _BothWays(nn.Module):
    """Two LSTMs, one from the end of each window: what fills up shorter windows is read last and changes nothing."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.forth = nn.LSTM(width, hidden, batch_first=True)
        self.back = nn.LSTM(width, hidden, batch_first=True)

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        places = torch.arange(states.shape[1], device=states.device)[None, :]
        mirror = torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)[:, :, None]
        back, _ = self.back(states.gather(1, mirror.expand(-1, -1, states.shape[2])))
        forth, _ = self.forth(states)
        return torch.cat([forth, back.gather(1, mirror.expand(-1, -1, back.shape[2]))], dim=2)
