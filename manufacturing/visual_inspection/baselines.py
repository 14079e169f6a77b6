"""Simple detectors to stand beside ours: a Gaussian of patches, and comparison with the average part."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from manufacturing.visual_inspection.model import Inspector, mean_of_top
from manufacturing.visual_inspection.train import as_tensor

SIDE = 64
RIDGE = 0.01


def gaussian(inspector: Inspector, pictures: Sequence[np.ndarray]) -> Callable[[Tensor], float]:
    """Mahalanobis distance of patches to those of good parts (PaDiM, Defard et al., 2021, arXiv:2011.08785).

    One Gaussian for all places, because parts are neither aligned nor of one size; `pictures` are resized,
    every third is used, and the detector takes the patches of a picture.
    """
    with torch.inference_mode():
        points = torch.cat([inspector.bank.embed(_patches(inspector, p)).flatten(0, 2)[::7] for p in pictures[::3]])
        mean, covariance = points.mean(0), torch.cov(points.T)
        precision = torch.linalg.inv(covariance + RIDGE * covariance.diagonal().mean() * torch.eye(len(mean)))

    def score(patches: Tensor) -> float:
        with torch.inference_mode():
            x = inspector.bank.embed(patches) - mean
            return float(mean_of_top(((x @ precision) * x).sum(-1).clamp(min=0).sqrt(), inspector.top))

    return score


def template(pictures: Sequence[np.ndarray], top: int) -> Callable[[np.ndarray], float]:
    """Largest deviations, in deviations of that place, from the average part at 64 x 64 without its exposure."""
    known = np.array([_flat(picture) for picture in pictures])
    mean, deviation = known.mean(0), known.std(0) + 0.05

    def score(picture: np.ndarray) -> float:
        return float(np.sort(np.abs(_flat(picture) - mean) / deviation, axis=None)[-top:].mean())

    return score


def _patches(inspector: Inspector, picture: np.ndarray) -> Tensor:
    return inspector.patches(as_tensor(picture))


def _flat(picture: np.ndarray) -> np.ndarray:
    small = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BOX))
    return (small - small.mean()) / (small.std() + 1)
