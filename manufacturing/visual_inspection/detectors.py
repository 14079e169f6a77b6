"""The detectors: each maps a standardised picture and the frozen features of it to one number per 8 x 8 pixels.

`forward(picture, features)` takes (batch, 1, height, width), sides divisible by 16, and maps of a frozen backbone at
`STRIDES`; it gives (batch, height / 8, width / 8), larger where a defect is more likely. `share` is the part of
a map whose mean is its score of a picture, chosen on good parts with synthetic defects.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 8
"""Pixels of the picture between two cells of a map."""
STRIDES = (STRIDE // 2, STRIDE, 2 * STRIDE)
"""Strides of the frozen features."""
FLAT = 64
"""Side of the average part."""


class Crossed(nn.Module):
    """One detector for each member, which has learnt without one fold; maps are (batch, members, h, w)."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.share = members[0].share

    def forward(self, picture: Tensor, features: Sequence[Tensor]) -> Tensor:
        """The maps of all members."""
        return torch.stack([member(picture, features) for member in self.members], dim=1)


class Patches(nn.Module):
    """Patches of the frozen features at strides 8 and 16, in few dimensions; `stride` is that of their places."""

    shift: Tensor
    projection: Tensor

    def __init__(self, channels: Sequence[int], stride: int, dimensions: int) -> None:
        """`channels` are those of all frozen features."""
        super().__init__()
        self.stride = stride
        self.register_buffer("shift", torch.zeros(sum(channels[1:])))
        self.register_buffer("projection", torch.zeros(sum(channels[1:]), dimensions))

    def patches(self, features: Sequence[Tensor]) -> Tensor:
        """(batch, h, w, channels): both maps, each patch the mean with its neighbours."""
        fine, coarse = (functional.avg_pool2d(f, 3, 1, 1, count_include_pad=False) for f in features[1:])
        both = [fine, _twice(coarse)] if self.stride == STRIDE else [functional.avg_pool2d(fine, 2), coarse]
        return torch.cat(both, dim=1).permute(0, 2, 3, 1)

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        """(batch, h, w, dimensions): patches around their mean, projected."""
        return (self.patches(features) - self.shift) @ self.projection

    @staticmethod
    def nearest(x: Tensor, bank: Tensor) -> Tensor:
        """(batch, h, w): squared distance of x (batch, h, w, dimensions) to the nearest of bank (n, dimensions), by the
        dot products that hardware is fast at."""
        flat = x.flatten(0, -2)
        least = torch.addmm((bank * bank).sum(-1), flat, bank.T, alpha=-2).amin(-1)
        return ((flat * flat).sum(-1) + least).clamp(min=0).reshape(x.shape[:-1])


class MemoryBank(Patches):
    """Distance to the nearest remembered patch of a good part (PatchCore, Roth et al., 2022, arXiv:2106.08265).

    The bank holds `size` patches of `dimensions` numbers, whatever the number of pictures, in blocks by the fold of the
    picture; each member knows all blocks but one. Maps are (batch, members, h, w).
    """

    share = 0.03
    bank: Tensor

    def __init__(self, channels: Sequence[int], folds: int, size: int, dimensions: int) -> None:
        super().__init__(channels, 2 * STRIDE, dimensions)
        self.register_buffer("bank", torch.zeros(folds, size // folds, dimensions))

    def forward(self, picture: Tensor, features: Sequence[Tensor]) -> Tensor:
        """The frozen features alone are used."""
        x = self.embed(features)
        blocks = [self.nearest(x, block) for block in self.bank]  # one by one: all at once take gigabytes
        known = [[block for other, block in enumerate(blocks) if other != member] for member in range(len(blocks))]
        return _twice(torch.stack([torch.stack(some).amin(0).sqrt() for some in known], dim=1))


class Excuses(Patches):
    """Patches that operators said are good though they raised an alarm: where one is seen again, nothing is raised.

    Not a detector of its own. `SIZE` patches at most; places that are still free are far from everything.
    """

    SIZE, DIMENSIONS, FAR = 500, 64, 1e4
    bank: Tensor
    radius: Tensor

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__(channels, STRIDE, self.DIMENSIONS)
        self.register_buffer("bank", torch.full((self.SIZE, self.DIMENSIONS), self.FAR))
        self.register_buffer("radius", torch.tensor(1.0))

    def excused(self, features: Sequence[Tensor]) -> Tensor:
        """Bool (batch, h, w): which cells are alike an excused one."""
        return self.nearest(self.embed(features), self.bank).sqrt() < self.radius


class Gaussian(nn.Module):
    """Logarithm of the squared Mahalanobis distance to the patches of good parts at stride 16.

    After PaDiM (Defard et al., 2021, arXiv:2011.08785), with one Gaussian for all places, because parts are neither
    aligned nor of one size. `channels` of the map are used: all, or some drawn at random.
    """

    share = 0.03
    channels: Tensor
    mean: Tensor
    root: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("channels", torch.arange(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("root", torch.eye(channels))

    def forward(self, picture: Tensor, features: Sequence[Tensor]) -> Tensor:
        """`root` is a root of the inverse covariance: root @ root.T."""
        x = features[2].index_select(1, self.channels).permute(0, 2, 3, 1)
        squared = ((x - self.mean) @ self.root).square().sum(-1)
        return _twice((squared + 1).log()[:, None])[:, 0]


class Segmenter(nn.Module):
    """Log-odds of a defect: the coarser layers of a backbone, trained along, and a decoder that joins strides 4 to 16.

    Taught with synthetic defects, or with labelled ones too. After DRAEM's discriminative half (Zavrtanik et al., 2021,
    arXiv:2108.07610), on a pretrained net instead of one from scratch. The layers up to stride 4 stay those of the
    frozen backbone: they are edges and spots, and a third of MobileNet's sums.
    """

    share = 0.003

    def __init__(self, above: nn.Module, channels: Sequence[int], width: int = 64) -> None:
        """`above` maps the features at stride 4 to those at 8 and 16; `channels` are those of all three."""
        super().__init__()
        self.above = above
        self.lateral = nn.ModuleList(_block(size, width, 1) for size in channels)
        self.drop = nn.Dropout2d(0.1)
        self.join = nn.ModuleList(_block(2 * width, width) for _ in range(2))
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, picture: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Of the frozen features the finest is used."""
        maps = features[0], *self.above(features[0])
        fine, middle, coarse = (lateral(self.drop(map_)) for lateral, map_ in zip(self.lateral, maps, strict=True))
        x = self.join[0](torch.cat([_twice(coarse), middle], dim=1))
        return self.out(self.join[1](torch.cat([x, functional.avg_pool2d(fine, 2)], dim=1)))[:, 0]


class Reconstruction(nn.Module):
    """How much a net changes a picture that has learnt, from scratch, to repair synthetic defects on good parts.

    A small U-Net at half the resolution; after DRAEM's reconstructive half. Needs no backbone.
    """

    share = 0.01

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width, 4 * width)
        self.down = nn.ModuleList(_block(i, o) for i, o in zip((1, *widths), widths, strict=False))
        self.up = nn.ModuleList(_block(i + o, o) for i, o in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.out = nn.Conv2d(width, 1, 1)

    def repair(self, picture: Tensor) -> Tensor:
        """(batch, 1, height / 2, width / 2): as it would look without a defect."""
        x, seen = halved(picture), []
        for level, block in enumerate(self.down):
            x = block(functional.avg_pool2d(x, 2) if level else x)
            seen.append(x)
        for block, fine in zip(self.up, seen[-2::-1], strict=True):
            x = block(torch.cat([functional.interpolate(x, scale_factor=2.0), fine], dim=1))
        return self.out(x)

    def forward(self, picture: Tensor, features: Sequence[Tensor] = ()) -> Tensor:
        """Mean absolute change around each cell."""
        change = functional.avg_pool2d((self.repair(picture) - halved(picture)).abs(), STRIDE // 2)
        return functional.avg_pool2d(change, 3, 1, 1, count_include_pad=False)[:, 0]


class Template(nn.Module):
    """Deviations, in deviations of that place, from the average part at 64 x 64: for parts that lie alike."""

    share = 0.01
    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(FLAT, FLAT))
        self.register_buffer("deviation", torch.ones(FLAT, FLAT))

    def forward(self, picture: Tensor, features: Sequence[Tensor] = ()) -> Tensor:
        """The frozen features are not used."""
        off = (self.flat(picture) - self.mean).abs() / self.deviation
        size = picture.shape[2] // STRIDE, picture.shape[3] // STRIDE
        return functional.interpolate(off[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]

    @staticmethod
    def flat(picture: Tensor) -> Tensor:
        """(batch, FLAT, FLAT)."""
        return functional.interpolate(halved(picture), size=(FLAT, FLAT), mode="bilinear", align_corners=False)[:, 0]


def halved(picture: Tensor) -> Tensor:
    """(batch, 1, height / 2, width / 2)."""
    return functional.avg_pool2d(picture, 2)


def coreset(points: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Greedy k-center (Sener & Savarese, 2018): positions of `size` of the points (n, dimensions) that cover all."""
    first = int(torch.randint(len(points), (1,), generator=generator))
    chosen = [first]
    norms = (points * points).sum(1)
    nearest = torch.full((len(points),), float("inf"))
    for _ in range(min(size, len(points)) - 1):
        last = points[chosen[-1]]
        nearest = torch.minimum(nearest, norms - 2 * (points @ last) + last @ last)
        chosen.append(int(nearest.argmax()))
    return torch.tensor(chosen)


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _block(inputs: int, outputs: int, kernel: int = 3) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
