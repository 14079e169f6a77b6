"""Backbones by name: a net that turns pictures into feature maps, pretrained where its weights can be had.

`mobilenet-v1-1.0-224` needs a folder of `ESPALIER_MODELS`, `random` nothing; any other name is torchvision's, such as
`resnet18`, `wide_resnet50_2`, `efficientnet_b0` or `convnext_tiny`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn

from common.errors import ModelUnavailable, UsageError
from common.vision.mobilenet import ID, load_mobilenet, random_mobilenet
from common.vision.weights import weight_file

RANDOM = "random"
SIDE = 128
"""Pixels of the dummy picture: the map at stride 32 still has 4 x 4 places, and pooled features 1 x 1."""
NEEDED = {4, 8, 16, 32}
"""Strides that every torchvision backbone has; some have 1 or 2 too."""
DENSE = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
"""DenseNet's files are older than the rule that a module's name has no dot."""


class Backbone(nn.Module):
    """A torchvision classifier without its head; pictures (batch, 3, h, w) in [-1, 1] to maps, finest first.

    Map `i` is (batch, channels[i], h / strides[i], w / strides[i]) when the strides divide the sides. `mean` and `std`
    are those of the pictures in [0, 1] that the net was trained with.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, name: str, net: nn.Module, mean: list[float], std: list[float]) -> None:
        from common.vision.torchvision_ops import create_feature_extractor

        super().__init__()
        if hasattr(net, "transform_input"):
            net.transform_input = True  # GoogLeNet was trained by TensorFlow, in [-1, 1]
        stages = _stages(name, net)
        self.strides = tuple(stages)
        self.channels = tuple(channels for _, channels in stages.values())
        self.net = create_feature_extractor(net, {node: str(stride) for stride, (node, _) in stages.items()})
        self.register_buffer("scale", 0.5 / torch.tensor(std)[:, None, None])
        self.register_buffer("shift", (0.5 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None])

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Feature maps, finest first."""
        return list(self.net(pictures * self.scale + self.shift).values())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.net.train(self.training)  # torchvision's extractor wakes up in training when it is copied


def load_backbone(name: str, *, pretrained: bool = True, seed: int = 0) -> nn.Module:
    """A module like `Backbone`, with `channels` and `strides`: frozen and in evaluation.

    `.requires_grad_(True)` thaws it. `random` is a MobileNet v1 with the weights that `seed` draws, and so is with
    `pretrained=False` any other name. Raises `UsageError` for a name that is none, `ModelUnavailable` for weights that
    are missing, altered or not free for every use.
    """
    if name == RANDOM or (name == ID and not pretrained):
        return random_mobilenet(seed)
    if name == ID:
        return load_mobilenet()
    return _load_torchvision(name, pretrained, seed).eval().requires_grad_(False)


def _load_torchvision(name: str, pretrained: bool, seed: int) -> Backbone:
    from common.vision.torchvision_ops import models

    known = models.list_models(module=models)
    if name not in known:
        close = ", ".join(get_close_matches(name, [ID, RANDOM, *known], n=4, cutoff=0.5))
        expected = f"{ID}, {RANDOM} or the name of a torchvision classifier"
        raise UsageError("unknown backbone", got=repr(name), expected=expected, fix=close and f"close are {close}")
    weights = models.get_model_weights(name).DEFAULT
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = models.get_model(name)
    expects = weights.transforms()
    backbone = Backbone(name, net, expects.mean, expects.std)
    if pretrained:
        if licence := weights.meta.get("license"):
            fix = f"take another one, or train it anew; {licence} has the terms"
            raise ModelUnavailable("its weights are not free for commercial use", where=name, fix=fix)
        _fill(net, weight_file(name, weights.url))
    return backbone


def _fill(net: nn.Module, path: Path) -> None:
    """Nothing in the file is run."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        for key in list(state):
            if (new := DENSE.sub(r"\1\2", key)) != key:
                state[new] = state.pop(key)
        net.load_state_dict(state)
    except Exception as error:  # torch raises a dozen kinds
        fix = "delete it and let it be downloaded"
        raise ModelUnavailable("not a file of weights for this net", where=str(path), fix=fix) from error


def _stages(name: str, net: nn.Module) -> dict[int, tuple[str, int]]:
    """The last module at each stride and its channels, by stride, found by looking where a dummy picture shrinks.

    A module that shrinks it more than once, such as a whole body, is opened. Costs no arithmetic: the tensors are
    shapes only.
    """
    shapes: dict[str, tuple[torch.Size, torch.Size]] = {}

    def note(module: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def see(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                shapes[module] = inputs[0].shape, output.shape

        return see

    hooks = [module.register_forward_hook(note(path)) for path, module in net.named_modules()]
    tensors = {key: value.to("meta") for key, value in (*net.named_parameters(), *net.named_buffers())}
    try:
        torch.func.functional_call(net.eval(), tensors, torch.zeros(1, 3, SIDE, SIDE, device="meta"))
        found = _shrinking("", net, shapes)
    except (AssertionError, RuntimeError):
        found = {}  # a transformer for one size of pictures
    finally:
        for hook in hooks:
            hook.remove()
    if not set(found) >= NEEDED:
        got = f"strides {', '.join(map(str, found)) or 'none'}"
        fix = "take a convolutional one whose layers halve the sides, such as resnet18, efficientnet_b0, convnext_tiny"
        raise UsageError("this net makes no maps at strides 4, 8, 16 and 32", where=name, got=got, fix=fix)
    return found


def _shrinking(
    prefix: str, module: nn.Module, shapes: dict[str, tuple[torch.Size, torch.Size]]
) -> dict[int, tuple[str, int]]:
    found: dict[int, tuple[str, int]] = {}
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        before, after = shapes.get(path, ((), ()))
        if len(before) != 4 or len(after) != 4 or after[2] != after[3] or SIDE % after[2] or after[2] < SIDE // 32:
            continue  # not run, not a map (batch, channels, h, w), or pooled behind the last one
        if before[2] > 2 * after[2] and next(child.children(), None) is not None:
            found |= _shrinking(f"{path}.", child, shapes)
        else:
            found[SIDE // after[2]] = path, after[1]
    return found


def cut(backbone: nn.Module, stride: int, coarsest: int) -> tuple[nn.Module, nn.Module]:
    """Copies of the part up to the map at a stride, and of the part that makes the coarser maps from it, as a list.

    Maps beyond the coarsest stride are left out, with all that only they need.
    """
    first, last = (backbone.strides.index(wanted) for wanted in (stride, coarsest))
    below, above = (torch.fx.symbolic_trace(deepcopy(backbone)) for _ in range(2))
    (*_, output) = below.graph.nodes
    output.args = (output.args[0][first],)
    (picture, *_, output) = above.graph.nodes
    maps = output.args[0]
    with above.graph.inserting_before(picture):
        known = above.graph.placeholder("known")
    maps[first].replace_all_uses_with(known)
    output.args = (list(maps[first + 1 : last + 1]),)
    for part in (below, above):
        part.graph.eliminate_dead_code()
    above.graph.erase_node(picture)
    for part in (below, above):
        part.recompile()
        part.delete_all_unused_submodules()
        part.train(backbone.training)
    return below, above
