"""The torch loop: `accelerate` makes the same code run on one process, on several by `torchrun`, or on a GPU."""

from __future__ import annotations

import atexit
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import broadcast
from pydantic import Field
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from common.config import Strict
from common.errors import UsageError
from common.progress import bar
from common.training.checkpoint import restore_checkpoint, save_checkpoint


class Optimisation(Strict):
    """AdamW with one warm-up and decay of the learning rate (Smith, 2018, arXiv:1803.09820)."""

    epochs: int = Field(6, ge=1)
    batch: int = Field(32, ge=1, description="examples per step, of all processes together")
    learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    backbone_rate: float = Field(0.1, gt=0, le=1, description="learning rate of a thawed backbone, as a share")
    largest_gradient: float | None = Field(None, gt=0, description="norm at which gradients are cut")
    patience: int | None = Field(None, ge=1, description="epochs without a better metric before it stops")
    workers: int = Field(0, ge=0, description="processes that read and augment examples")


@dataclass(frozen=True)
class History:
    """Mean loss of every epoch, the metric behind every epoch, and the epoch whose weights were kept, from 0."""

    losses: list[float]
    metrics: list[float]
    kept: int


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
    return fit_dataset(model, TensorDataset(inputs, targets), loss, settings, seed=seed).losses[-1]


def fit_dataset(
    model: nn.Module,
    examples: Dataset[Any],
    loss: Callable[[Tensor, Tensor], Tensor],
    settings: Optimisation,
    *,
    seed: int,
    backbone: nn.Module | None = None,
    validate: Callable[[nn.Module], float] | None = None,
    checkpoint: Path | None = None,
    run: Any = None,
) -> History:
    """Minimise `loss(model(x), y)` in place over a data set of (x, y) that has a length; it may draw anew every time.

    `backbone` is the part of the model that was trained before and learns more slowly. What has no parameter that asks
    for a gradient is frozen and stays in evaluation, batch norms with it. `validate` gives a metric of the model in
    evaluation, higher is better, after every epoch: the weights of the best are kept. The model ends in evaluation, on
    the device where it was. `checkpoint` is a file that is written anew after every epoch; where it is there already,
    the run goes on behind the last one as if it had never stopped (exactly so on one process), and `run` (JSON) is what
    must be the same beside settings, seed and the number of steps. Raises `UsageError` without an example, when the
    loss is no longer a number, or for a checkpoint of another run.
    """
    accelerator = _accelerator()
    home = next(model.parameters()).device
    order = torch.Generator().manual_seed(seed)
    loader = _loader(examples, settings, order, accelerator.num_processes)
    torch.manual_seed(seed + accelerator.process_index)  # dropout and augmentation
    groups = _groups(model, backbone, settings)
    optimiser = torch.optim.AdamW(groups, settings.learning_rate, weight_decay=settings.weight_decay)
    steps = settings.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, [group["lr"] for group in groups], total_steps=steps)
    prepared, optimiser, loader = accelerator.prepare(model, optimiser, loader)
    losses: list[float] = []
    metrics: list[float] = []
    best, kept, done = None, 0, 0
    told = [settings.model_dump(mode="json"), seed, steps, run]
    if checkpoint and (facts := restore_checkpoint(checkpoint, model, optimiser, told, order)):
        losses, metrics, kept, best = facts["losses"], facts["metrics"], facts["kept"], facts["best"]
        done = len(losses)
        schedule.last_epoch = done * len(loader)
    with _shown(accelerator, steps) as advance:
        advance(done * len(loader))
        for epoch in range(done, settings.epochs):
            _train(prepared)
            total = torch.zeros((), device=accelerator.device)
            for x, y in loader:
                value = loss(prepared(x.float() if x.is_floating_point() else x), y)
                optimiser.zero_grad()
                accelerator.backward(value)
                if settings.largest_gradient:
                    accelerator.clip_grad_norm_(prepared.parameters(), settings.largest_gradient)
                optimiser.step()
                schedule.step()
                total += value.detach()
                advance(1, f"loss {losses[-1]:.3g}" if losses else "")
            losses.append(float(accelerator.reduce(total, "mean")) / len(loader))
            if not math.isfinite(losses[-1]):
                fix = "lower learning_rate or set largest_gradient=1"
                raise UsageError("the loss is no longer a number", where=f"epoch {epoch + 1}", got=losses[-1], fix=fix)
            if validate:
                metrics.append(_measure(model, validate, accelerator))
                if epoch == 0 or metrics[-1] > metrics[kept]:
                    best, kept = deepcopy(model.state_dict()), epoch
                elif settings.patience and epoch - kept >= settings.patience:
                    break
            if checkpoint and accelerator.is_main_process:
                facts = {"run": told, "losses": losses, "metrics": metrics, "kept": kept}
                save_checkpoint(checkpoint, model, optimiser, facts, order, best)
    accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)  # mixed precision leaves `model.forward` wrapped
    if best:
        model.load_state_dict(best)
    model.to(home).eval()
    return History(losses, metrics, kept if validate else len(losses) - 1)


def _accelerator() -> Accelerator:
    """A GPU where there is one, with half precision where the hardware has it: two fifths less time on a CPU."""
    gpu = torch.cuda.is_available()
    cpu = torch.cpu.get_capabilities()
    built_in = cpu.get("avx512_bf16") or cpu.get("amx_bf16")
    half = torch.cuda.is_bf16_supported(including_emulation=False) if gpu else built_in
    return Accelerator(
        cpu=not gpu,
        mixed_precision="bf16" if half else "no",
        dataloader_config=DataLoaderConfiguration(split_batches=True),  # the same steps on any number of processes
    )


@atexit.register
def _leave() -> None:
    """End the threads of a process group while Python still lives: otherwise one process in some thousands aborts when
    it exits, and its run counts as failed."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _shown(accelerator: Accelerator, steps: int) -> AbstractContextManager[Callable[..., None]]:
    """One bar, not one for each process."""
    return bar("training", steps) if accelerator.is_main_process else nullcontext(lambda *_: None)


def _measure(model: nn.Module, validate: Callable[[nn.Module], float], accelerator: Accelerator) -> float:
    """The first process's metric for all: they must agree on when to stop."""
    model.eval()
    with torch.no_grad():
        return float(broadcast(torch.tensor(validate(model), dtype=torch.float64, device=accelerator.device)))


def _loader(examples: Dataset[Any], settings: Optimisation, order: torch.Generator, processes: int) -> DataLoader[Any]:
    batch = min(settings.batch, len(examples))
    if batch < processes or not batch:
        expected = f"at least {processes}, one for each process"
        raise UsageError("too few examples or too small a batch", got=batch, expected=expected)
    batch -= batch % processes
    shuffle = not isinstance(examples, IterableDataset)
    return DataLoader(examples, batch, shuffle=shuffle, drop_last=True, generator=order, num_workers=settings.workers)


def _groups(model: nn.Module, backbone: nn.Module | None, settings: Optimisation) -> list[dict[str, Any]]:
    """What is to be learned, with its learning rate; the backbone's parameters last."""
    slow = {id(parameter) for parameter in backbone.parameters()} if backbone else set()
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rate = settings.learning_rate
    groups = [
        {"params": [parameter for parameter in learned if id(parameter) not in slow], "lr": rate},
        {"params": [parameter for parameter in learned if id(parameter) in slow], "lr": rate * settings.backbone_rate},
    ]
    return [group for group in groups if group["params"]]


def _train(model: nn.Module) -> None:
    """Training mode, except where nothing is learned: statistics of a frozen batch norm must not drift."""
    model.train()
    for module in model.modules():
        learned = [parameter.requires_grad for parameter in module.parameters()]
        if learned and not any(learned):
            module.eval()
