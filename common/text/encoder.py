"""Sentence vectors by a pretrained transformer: load it, run it frozen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from common.errors import ModelUnavailable, UsageError
from common.progress import bar
from common.text.hub import resolve
from common.text.tokens import Tokens

CHUNK = 16
"""Rows of similar length run together: padding is most of the work in a batch of texts as they come."""
BATCH = 64
ATTENTION = "eager"
"""For short texts on a CPU a third faster than torch's fused one; and it can be exported."""


class Encoder(nn.Module):
    """Token ids (texts, tokens) to vectors (texts, width): the last layer pooled, of length 1.

    `pooling` is that of the backbone's `1_Pooling/config.json`: the mean over a text's tokens, or its first token.
    `fresh` says that its weights are random still.
    """

    def __init__(self, net: nn.Module, tokens: Tokens, pooling: str = "mean", *, fresh: bool = False) -> None:
        super().__init__()
        self.net, self.tokens, self.pooling, self.fresh = net, tokens, pooling, fresh
        self.width: int = net.config.hidden_size
        self.layers: int = net.config.num_hidden_layers + 1
        if getattr(net, "pooler", None) is not None:
            net.pooler = None  # a layer for another task that BERT was pre-trained with

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors (texts, width); rows are run in chunks of similar length, each only as long as it must be."""
        order = (ids != self.tokens.pad).sum(1).argsort()
        parts = [self.pooled(self._trimmed(ids[rows])) for rows in order.split(CHUNK)]
        return torch.cat(parts)[order.argsort()]

    def pooled(self, ids: Tensor) -> Tensor:
        """Vectors (texts, width) of one chunk as it is."""
        return self._pool(self._run(ids).last_hidden_state, ids)

    def by_layer(self, ids: Tensor) -> Tensor:
        """Vectors (texts, layers, width), the embeddings' first."""
        found = self._run(ids, output_hidden_states=True)
        states = found.hidden_states or (found.last_hidden_state,)  # a net of embeddings alone names no layers
        return torch.stack([self._pool(state, ids) for state in states], dim=1)

    @torch.no_grad()
    def vectors(self, texts: Sequence[str], *, layers: bool = False) -> np.ndarray:
        """float32 (texts, width), or (texts, layers, width); a bar shows over many texts."""
        shape = (len(texts), self.layers, self.width) if layers else (len(texts), self.width)
        found = np.empty(shape, np.float32)
        order = np.argsort([len(text) for text in texts], kind="stable")
        run = self.by_layer if layers else self.pooled
        was, device = self.training, next(self.parameters()).device
        self.eval()
        with bar("encoding", len(texts)) as advance:
            for start in range(0, len(texts), BATCH):
                rows = order[start : start + BATCH]
                ids = torch.from_numpy(self.tokens([texts[row] for row in rows])).to(device)
                found[rows] = run(ids).float().cpu().numpy()
                advance(len(rows))
        self.train(was)
        return found

    def last_layers(self, count: int | None) -> list[nn.Module]:
        """The transformer's last blocks, or with None the whole net. Raises `UsageError` when it has no such blocks."""
        if count is None:
            return [self.net]
        stacks = (part for part in self.net.modules() if isinstance(part, nn.ModuleList))
        blocks = next((stack for stack in stacks if len(stack) == self.layers - 1), None)
        if blocks is None or count > len(blocks):
            expected = f"at most {len(blocks)}" if blocks else "a net whose blocks are in one list"
            raise UsageError("cannot tune the last layers", got=count, expected=expected)
        return list(blocks[-count:])

    def _run(self, ids: Tensor, **options: Any) -> Any:
        return self.net(input_ids=ids, attention_mask=(ids != self.tokens.pad).long(), **options)

    def _pool(self, states: Tensor, ids: Tensor) -> Tensor:
        if self.pooling == "first":
            return functional.normalize(states[:, 0], dim=-1)
        kept = (ids != self.tokens.pad).to(states.dtype)[:, :, None]
        return functional.normalize((states * kept).sum(1) / kept.sum(1), dim=-1)

    def _trimmed(self, ids: Tensor) -> Tensor:
        return ids[:, : int((ids != self.tokens.pad).sum(1).max())]


def transformers() -> ModuleType:
    """The library of that name, imported so that a torchvision whose operators do not load cannot break it."""
    if find_spec("torchvision"):
        import_module("common.vision.torchvision_ops")
    library = import_module("transformers")
    library.utils.logging.disable_progress_bar()  # reading weights takes no two seconds
    library.utils.logging.set_verbosity_error()  # else it tells at length of poolers that nobody asks for
    return library


def load_encoder(name: str, *, longest: int = 64, layers: int | None = None) -> Encoder:
    """The encoder that `name` stands for (see `resolve`), frozen and in evaluation; `.requires_grad_(True)` thaws it.

    `longest` is the number of tokens behind which a text is cut off; with `layers` only the first ones are kept, with 0
    the embeddings alone. No code that comes with a model is run. Raises what `resolve` raises, and `ModelUnavailable`
    when the folder holds no text encoder.
    """
    folder = resolve(name)
    library = transformers()
    try:
        cut = {} if layers is None else {"num_hidden_layers": layers}
        net = library.AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, attn_implementation=ATTENTION, **cut
        )
    except Exception as error:  # safetensors raises its own kinds
        first = (str(error).splitlines() or [""])[0]
        raise ModelUnavailable(f"not a text encoder that can be read ({first})", where=str(folder)) from error
    tokens = Tokens(folder / "tokenizer.json", longest=min(longest, net.config.max_position_embeddings))
    return Encoder(net, tokens, _pooling(folder)).float().eval().requires_grad_(False)


def _pooling(folder: Path) -> str:
    file = folder / "1_Pooling" / "config.json"
    first = file.is_file() and json.loads(file.read_text(encoding="utf-8")).get("pooling_mode_cls_token")
    return "first" if first else "mean"
