"""The torch loop: `accelerate` makes the same code run on one process, on several by `torchrun`, or on a GPU."""

from __future__ import annotations

from collections.abc import Callable

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from common.config import Strict


class Optimisation(Strict):
    """AdamW with one warm-up and decay of the learning rate (Smith, 2018, arXiv:1803.09820)."""

    epochs: int = 6
    batch: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2


def fit(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    settings: Optimisation,
    *,
    seed: int,
) -> float:
    """Minimise `loss(model(inputs), targets)` in place; returns its mean over the last epoch.

    `inputs` and `targets` are (examples, ...); half-precision inputs are made whole batch by batch.
    """
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    order = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout
    loader = DataLoader(TensorDataset(inputs, targets), settings.batch, shuffle=True, drop_last=True, generator=order)
    optimiser = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.epochs * len(loader)
    )
    prepared, optimiser, loader = accelerator.prepare(model, optimiser, loader)
    prepared.train()
    mean = float("nan")
    for _ in range(settings.epochs):
        total = 0.0
        for x, y in loader:
            value = loss(prepared(x.float()), y)
            optimiser.zero_grad()
            accelerator.backward(value)
            optimiser.step()
            schedule.step()
            total += float(value.detach())
        mean = total / len(loader)
    model.eval()
    return mean
