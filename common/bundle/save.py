"""Writing a bundle: stage beside the destination, run the golden examples, seal, rename."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.bundle.acceptance import of_project
from common.bundle.card import render_card
from common.bundle.folder import FORMAT, MANIFEST, Bundle, Manifest, load_bundle, manifest_bytes
from common.bundle.signature import signature
from common.bundle.signing import SIGNATURE, sign
from common.config import settings
from common.errors import BundleError
from common.files import sha256, sync
from common.provenance import commit

if TYPE_CHECKING:
    import numpy as np
    from pydantic import BaseModel

    from common.system import Predictor, System

LIBRARIES = (
    "numpy",
    "scikit-learn",
    "xgboost-cpu",
    "lightgbm",
    "optbinning",
    "pandas",
    "pydantic",
    "torch",
    "onnxruntime",
)


def save_bundle(
    system: System,
    config: BaseModel,
    *,
    arrays: Mapping[str, Mapping[str, np.ndarray]],
    preprocess: Mapping[str, Any],
    metrics: Mapping[str, Any],
    data: Mapping[str, Any],
    reference: Mapping[str, Any],
    examples: Sequence[Mapping[str, Any]],
    files: Mapping[str, bytes] | None = None,
    folder: Path | None = None,
) -> Bundle:
    """Write a bundle and open it again; the folder appears whole or not at all.

    `arrays` maps `*.safetensors` file names to named arrays, `files` further names to bytes;
    `data` must hold `simulated` (bool); `examples` are requests, answered here by the staged bundle
    itself to become the golden pairs. `folder` defaults to `<home>/bundles/<system>/<version>`.
    """
    import numpy as np
    from safetensors.numpy import save

    # In the order of their indices: the library writes memory as it lies, transposed ones wrongly.
    ordered = {name: {key: np.ascontiguousarray(value) for key, value in some.items()} for name, some in arrays.items()}
    contents: dict[str, bytes] = {name: save(tensors) for name, tensors in ordered.items()}
    contents |= dict(files or {})
    contents |= {
        "preprocess.json": _json(preprocess),
        "metrics.json": _json(metrics),
        "data.json": _json(data),
        "reference.json": _json(reference),
    }
    now = datetime.now(UTC)
    fingerprint = sha256(b"".join(name.encode() + contents[name] for name in sorted(contents)))
    values: dict[str, Any] = {
        "format": FORMAT,
        "system": system.name,
        "version": f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}-{fingerprint[:8]}",
        "created": now.isoformat(timespec="seconds"),
        "commit": commit(),
        "simulated": bool(data["simulated"]),
        "seed": int(getattr(config, "seed", 0)),
        "config": config.model_dump(mode="json"),
        "libraries": _library_versions(),
    }
    if thresholds := of_project(system.name):
        values["acceptance"] = thresholds  # an image has the bundle, and not the project's file
    contents["CARD.md"] = render_card(system, values, metrics, data).encode()

    target = folder or settings().home / "bundles" / system.name / values["version"]
    if target.exists():
        raise BundleError("there is something already", where=str(target), fix="give the folder of a new bundle")
    staging = target.parent / f".{target.name}.{secrets.token_hex(4)}.part"
    staging.mkdir(parents=True)
    try:
        for name, content in contents.items():
            (staging / name).write_bytes(content)
        values["files"] = {name: _entry(content) for name, content in contents.items()}
        draft = Bundle(staging, Manifest.model_validate(values | {"digest": ""}))
        predictor: Predictor = system.load("predictor").load(draft)
        sealed = {
            "signature.json": _json(signature(predictor.request, predictor.response)),
            "examples.jsonl": _answer(predictor, examples),
        }
        for name, content in sealed.items():
            (staging / name).write_bytes(content)
            values["files"][name] = _entry(content)
        manifest = manifest_bytes(values)
        (staging / MANIFEST).write_bytes(manifest)
        if key := settings().signing_key:
            (staging / SIGNATURE).write_bytes(sign(manifest, key))
        for file in staging.iterdir():
            sync(file)
        staging.rename(target)
        sync(target.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return load_bundle(target)


def _answer(predictor: Predictor, examples: Sequence[Mapping[str, Any]]) -> bytes:
    answers = predictor.predict([predictor.request.model_validate(example) for example in examples])
    pairs = zip(examples, answers, strict=True)
    return b"".join(
        _json_line({"request": request, "response": answer.model_dump(mode="json")}) for request, answer in pairs
    )


def _entry(content: bytes) -> dict[str, Any]:
    return {"sha256": sha256(content), "bytes": len(content)}


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).encode()


def _json_line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _library_versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
