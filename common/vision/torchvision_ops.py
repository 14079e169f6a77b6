"""The one place that imports torchvision: its wheel for CUDA cannot load its compiled operators beside CPU torch.

Without them `import torchvision` dies with `operator torchvision::nms does not exist`, and so does `transformers` with
its picture models: import this module first. The operators are only declared then, which is enough for models,
transforms and data sets; calling one still fails.
"""

from __future__ import annotations

from importlib.machinery import PathFinder
from importlib.util import find_spec

import torch


def _declare() -> torch.library.Library | None:
    """The declarations, which last as long as the object does; nothing where the compiled operators load."""
    package = find_spec("torchvision")
    compiled = package and PathFinder.find_spec("_C", package.submodule_search_locations)
    try:
        if compiled and compiled.origin:
            torch.ops.load_library(compiled.origin)
            return None
    except OSError:
        pass  # one of CUDA's libraries is missing
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


DECLARED = _declare()

from torchvision import models  # noqa: E402
from torchvision.models.feature_extraction import create_feature_extractor  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

__all__ = ["DECLARED", "create_feature_extractor", "models", "v2"]
