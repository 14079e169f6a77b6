"""Where a training run stands, as one file that is whole or not there: weights, optimiser, random numbers, epochs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from common.errors import UsageError
from common.files import write_whole


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    facts: dict[str, Any],
    order: torch.Generator,
    best: dict[str, Tensor] | None,
) -> None:
    """Write what `restore_checkpoint` reads; `facts` are JSON. What was there stays until the new file is whole."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in (best or {}).items()}
    state = optimiser.state_dict()
    for number, values in state["state"].items():
        tensors |= {f"optimiser.{number}.{name}": torch.as_tensor(value) for name, value in values.items()}
    tensors |= {"random.torch": torch.get_rng_state(), "random.order": order.get_state()}
    kept = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    rates = [[group["lr"], *group["betas"]] for group in state["param_groups"]]
    write_whole(path, save(kept, {"facts": json.dumps({**facts, "rates": rates})}))


def restore_checkpoint(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, run: Any, order: torch.Generator
) -> dict[str, Any] | None:
    """Set all to where the run in the file stood; its facts and the weights that were `best`; None without a file.

    `run`, JSON, says which run it is: raises `UsageError` for a file of another run, or one that cannot be read.
    """
    if not path.is_file():
        return None
    fix = "delete it to begin anew, or name another file"
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["facts"])
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise UsageError("not a checkpoint that can be read", where=str(path), got=error, fix=fix) from error
    if facts["run"] != json.loads(json.dumps(run)):
        raise UsageError("a checkpoint of another run: settings, seed or data differ", where=str(path), fix=fix)
    model.load_state_dict(_part(tensors, "model."))
    state = optimiser.state_dict()
    for name, value in _part(tensors, "optimiser.").items():
        number, kind = name.split(".", 1)
        state["state"].setdefault(int(number), {})[kind] = value
    for group, (rate, *betas) in zip(state["param_groups"], facts["rates"], strict=True):
        group["lr"], group["betas"] = rate, tuple(betas)
    optimiser.load_state_dict(state)
    torch.set_rng_state(tensors["random.torch"])
    order.set_state(tensors["random.order"])
    return {**facts, "best": _part(tensors, "best.") or None}


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
