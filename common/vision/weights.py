"""Files of pretrained weights: `ESPALIER_MODELS`, then torch's hub cache, then the web; checked by their own names."""

from __future__ import annotations

from pathlib import Path

import torch

from common.config import settings
from common.download import CutOff, Unreachable, download
from common.errors import ModelUnavailable
from common.files import sha256, whole_file


def weight_file(model: str, url: str) -> Path:
    """Where the file at `url` lies; downloaded into torch's hub cache when it is nowhere.

    Its name ends in the start of its sha256, `resnet18-f37072fd.pth`, which is verified whatever the source. Looks for
    `<ESPALIER_MODELS>/<file>` and `<ESPALIER_MODELS>/<model>/<file>` first. Raises `ModelUnavailable` naming the file.
    """
    file = url.rpartition("/")[2]
    ours, cached = settings().models, Path(torch.hub.get_dir()) / "checkpoints" / file
    for path in (ours / file, ours / model / file, cached):
        if path.is_file():
            _verify(path, file, str(path), "delete it, or put the right one in its place")
            return path
    fix = f"put it into ESPALIER_MODELS ({ours}), or at {cached}, or connect so that it is downloaded from {url}"
    where, nowhere = f"{model}: {file}", "the weights are in no folder"
    if settings().offline:
        raise ModelUnavailable(f"{nowhere}, and ESPALIER_OFFLINE is set", where=where, fix=fix)
    try:
        with whole_file(cached) as part:
            download(url, part, file)
            _verify(part, file, url, fix)
    except (CutOff, Unreachable) as error:
        raise ModelUnavailable(f"{nowhere} and the download failed", where=where, got=error, fix=fix) from None
    except OSError as error:
        fix = "free some space or set TORCH_HOME to a folder that can be written"
        raise ModelUnavailable(f"cannot write ({error})", where=str(cached), fix=fix) from error
    return cached


def _verify(path: Path, file: str, source: str, fix: str) -> None:
    """`resnet18-f37072fd.pth` must have a sha256 that starts with f37072fd."""
    promised = Path(file).stem.rpartition("-")[2]
    if not (digest := sha256(path)).startswith(promised):
        what, got = "the weights are not those that the file's name promises", f"sha256 {digest[:12]}…"
        raise ModelUnavailable(what, where=source, got=got, expected=f"{promised}…", fix=fix)
