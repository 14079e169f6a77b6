"""MobileNet v1 (Howard et al., 2017, arXiv:1704.04861) as a frozen feature extractor, from TensorFlow.js shards.

The ImageNet weights are Keras' own, up to `conv_pw_9`: features at strides 2, 4, 8 and 16.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from common.config import settings
from common.errors import ModelUnavailable
from common.files import sha256

ID = "mobilenet-v1-1.0-224"
# Output channels and stride of each depthwise-separable block.
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1))
TAPS = {1: 64, 3: 128, 5: 256, 9: 512}
"""Blocks whose output is a feature map, and its channels; at strides 2, 4, 8 and 16. The last two of stride 16 are left
out: a Gaussian of good patches tells synthetic defects by them with an AUROC of 0.85, by block 9 with 0.91."""
EPSILON = 1e-3


class _Convolution(nn.Module):
    """Convolution, batch norm with fixed statistics, ReLU6; TensorFlow's SAME padding for even sizes."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        self.pad = (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1) if kernel == 3 else None
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, height, width) to (batch, outputs, height / stride, width / stride)."""
        return functional.relu6(self.convolution(functional.pad(x, self.pad) if self.pad else x))


class MobileNetV1(nn.Module):
    """`forward` maps pictures (batch, 3, height, width) in [-1, 1], sides divisible by 16, to four feature maps.

    The batch norms are folded into the convolutions.
    """

    channels = tuple(TAPS.values())
    strides = (2, 4, 8, 16)

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Convolution(3, 32, 3, 2)
        blocks, inputs = [], 32
        for outputs, stride in BLOCKS:
            depthwise = _Convolution(inputs, inputs, 3, stride, groups=inputs)
            blocks.append(nn.Sequential(depthwise, _Convolution(inputs, outputs, 1, 1)))
            inputs = outputs
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Feature maps, finest first."""
        found, x = [], self.stem(x)
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number in TAPS:
                found.append(x)
        return found


def random_mobilenet(seed: int) -> MobileNetV1:
    """Untrained, with He initialisation: what there is without a file."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # other draws of the caller do not depend on whether there is a file
        model = MobileNetV1()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                nn.init.zeros_(module.bias)
    return model.eval().requires_grad_(False)


def load_mobilenet() -> MobileNetV1:
    """The ImageNet weights from `<ESPALIER_MODELS>/mobilenet-v1-1.0-224`; every file is checked against its sha256.

    Raises `ModelUnavailable` naming the folder or the file.
    """
    tensors = _tensors()
    model = MobileNetV1()
    layers = {"stem": "conv1"}
    for number in range(1, len(BLOCKS) + 1):
        layers |= {f"blocks.{number - 1}.0": f"conv_dw_{number}", f"blocks.{number - 1}.1": f"conv_pw_{number}"}
    state = {}
    for ours, theirs in layers.items():
        # TensorFlow has (height, width, inputs, outputs), and (height, width, inputs, 1) for depthwise kernels.
        if (depthwise := f"{theirs}/depthwise_kernel") in tensors:
            kernel = tensors[depthwise].transpose(2, 3, 0, 1)
        else:
            kernel = tensors[f"{theirs}/kernel"].transpose(3, 2, 0, 1)
        gamma, beta, mean, variance = (
            tensors[f"{theirs}_bn/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        scale = gamma / np.sqrt(variance + EPSILON)
        state[f"{ours}.convolution.weight"] = torch.from_numpy(kernel * scale[:, None, None, None])
        state[f"{ours}.convolution.bias"] = torch.from_numpy(beta - mean * scale)
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)


def _tensors() -> dict[str, np.ndarray]:
    """Every tensor of the listed shards by Keras name, float32."""
    folder = settings().models / ID
    known = tomllib.loads((Path(__file__).parent / f"{ID}.toml").read_text(encoding="utf-8"))["sha256"]
    contents = {name: _read(folder / name, digest) for name, digest in known.items()}
    found: dict[str, np.ndarray] = {}
    for group in json.loads(contents["model.json"])["weightsManifest"]:
        [name] = group["paths"]
        if name not in contents:
            continue  # a layer behind the last tap
        values, start = np.frombuffer(contents[name], "<f4"), 0
        for weight in group["weights"]:
            size = int(np.prod(weight["shape"]))
            found[weight["name"]] = values[start : start + size].reshape(weight["shape"])
            start += size
    return found


def _read(path: Path, digest: str) -> bytes:
    fix = f"set ESPALIER_MODELS to a folder that holds {ID}, or train with backbone=random"
    try:
        content = path.read_bytes()
    except OSError:
        raise ModelUnavailable("a file of the backbone is missing", where=str(path), fix=fix) from None
    if sha256(content) != digest:
        got, expected = f"sha256 {sha256(content)[:12]}…", f"{digest[:12]}…"
        raise ModelUnavailable("a file of the backbone changed", where=str(path), got=got, expected=expected, fix=fix)
    return content
