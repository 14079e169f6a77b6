"""Linear-chain conditional random field (Lafferty, McCallum & Pereira, 2001): exact likelihood, best path, chances."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

NEVER = -1e4
"""Score of a transition that no rule allows."""


class Crf(nn.Module):
    """Scores of a tag behind a tag (tags + 1, tags + 1); the last row begins a sequence, the last column ends it.

    `allowed` bool of the same shape says what may follow what; the rest scores `NEVER` and is not learned.
    """

    allowed: Tensor

    def __init__(self, allowed: np.ndarray) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(allowed.shape))
        self.register_buffer("allowed", torch.from_numpy(np.asarray(allowed, bool)))

    def forward(self) -> Tensor:
        """The transitions' scores."""
        return self.weights.masked_fill(~self.allowed, NEVER)


def log_likelihood(emissions: Tensor, transitions: Tensor, tags: Tensor) -> Tensor:
    """Of every sequence (batch,): emissions (batch, units, tags), tags int64 (batch, units), -1 where there is none.

    Units without a tag are passed over wherever they are. A sequence without a tag has likelihood 1. Computed in
    float64: the chances are added as they are, not as logarithms, which is several times faster.
    """
    emissions, tags, mask = _packed(emissions.double(), tags)
    transitions = transitions.double()
    return (_gold(emissions, transitions, tags, mask) - _partition(emissions, transitions, mask)) * mask[:, 0]


def viterbi_batch(emissions: Tensor, transitions: Tensor, mask: Tensor) -> list[np.ndarray]:
    """The best tags of every sequence, for the units whose mask bool (batch, units) is set."""
    from common.text.viterbi import viterbi

    rows = zip(emissions.detach().float().cpu().numpy(), mask.cpu().numpy(), strict=True)
    scores = transitions.detach().float().cpu().numpy()
    return [viterbi(row[kept], scores) for row, kept in rows]


def _packed(emissions: Tensor, tags: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Units with a tag first, in their order; tags 0 and mask False behind them."""
    order = (tags < 0).long().argsort(dim=1, stable=True)[:, : max(int((tags >= 0).sum(1).max()), 1)]
    tags = tags.gather(1, order)
    emissions = emissions.gather(1, order[:, :, None].expand(-1, -1, emissions.shape[2]))
    return emissions, tags.clamp(min=0), tags >= 0


def _gold(emissions: Tensor, transitions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
    units = emissions.gather(2, tags[:, :, None]).squeeze(2)
    steps = transitions[tags[:, :-1], tags[:, 1:]]
    last = tags.gather(1, (mask.sum(1) - 1).clamp(min=0)[:, None]).squeeze(1)
    ends = transitions[-1, tags[:, 0]] + transitions[last, -1]
    return (units * mask).sum(1) + (steps * mask[:, 1:]).sum(1) + ends


def _partition(emissions: Tensor, transitions: Tensor, mask: Tensor) -> Tensor:
    inner = transitions[:-1, :-1].exp()
    score = transitions[-1, :-1] + emissions[:, 0]
    for at in range(1, emissions.shape[1]):
        top = score.amax(1, keepdim=True).detach()
        # A tag that nothing leads to stays far below the others instead of at a logarithm of zero.
        behind = ((score - top).exp() @ inner).clamp(min=1e-300).log() + top + emissions[:, at]
        score = torch.where(mask[:, at, None], behind, score)
    return (score + transitions[:-1, -1]).logsumexp(1)
