"""The bundle folder and its manifest: reading and verifying."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from common.bundle.signing import verify
from common.config import settings
from common.errors import BundleCorrupted, BundleError, BundleTooNew, DataError
from common.files import sha256

if TYPE_CHECKING:
    import numpy as np

FORMAT = "1.0"
MANIFEST = "manifest.json"


class FileEntry(BaseModel):
    """Size and hash of one file of the bundle."""

    sha256: str
    bytes: int


class Manifest(BaseModel):
    """`manifest.json`. Fields of a newer minor format are kept and ignored."""

    model_config = ConfigDict(extra="allow")

    format: str
    system: str
    version: str
    created: str
    commit: str
    simulated: bool
    seed: int
    config: dict[str, Any]
    libraries: dict[str, str]
    files: dict[str, FileEntry]
    digest: str


@dataclass(frozen=True)
class Bundle:
    """A verified bundle; every read checks the file's hash again."""

    path: Path
    manifest: Manifest

    def read(self, name: str) -> bytes:
        """Content of one listed file; raises `BundleCorrupted` when it differs from the manifest."""
        entry = self.manifest.files.get(name)
        where = f"bundle {self.path}, file {name}"
        restore = "restore the bundle from the registry or train it again"
        if entry is None:
            raise BundleCorrupted("not listed in the manifest", where=where, fix=restore)
        try:
            content = (self.path / name).read_bytes()
        except FileNotFoundError:
            raise BundleCorrupted("the file is missing", where=where, fix=restore) from None
        if len(content) != entry.bytes:
            raise BundleCorrupted(
                "wrong size", where=where, got=f"{len(content)} bytes", expected=entry.bytes, fix=restore
            )
        if (digest := sha256(content)) != entry.sha256:
            raise BundleCorrupted(
                "the content changed",
                where=where,
                got=f"sha256 {digest[:12]}…",
                expected=f"{entry.sha256[:12]}…",
                fix=restore,
            )
        return content

    def json(self, name: str) -> Any:
        """A JSON file of the bundle, parsed."""
        return json.loads(self.read(name))

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """A safetensors file of the bundle as NumPy arrays."""
        from safetensors.numpy import load

        return load(self.read(name))

    def examples(self) -> list[dict[str, Any]]:
        """Golden pairs `{"request": ..., "response": ...}`."""
        return [json.loads(line) for line in self.read("examples.jsonl").splitlines()]

    def check_test_rows(self, rows: bytes) -> None:
        """Raises `DataError` unless `rows`, the ids of a test part, have the `test_rows_sha256` of `data.json`."""
        if sha256(rows) != self.json("data.json")["test_rows_sha256"]:
            raise DataError(
                "the test part is not the one that training kept closed",
                where=f"bundle {self.path}",
                fix="train the bundle again on this data",
            )


def load_bundle(path: Path | str) -> Bundle:
    """Open a bundle folder and verify format, manifest, signature (when a key is configured) and every file.

    Raises `BundleError` when the folder is no bundle, `BundleTooNew` for a newer major format,
    `SignatureInvalid` and `BundleCorrupted`; each names the file and what to do.
    """
    path = Path(path)
    try:
        raw = (path / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(
            f"no {MANIFEST} in this folder", where=str(path), fix="give the path that `espalier train` printed last"
        ) from None
    try:
        values = json.loads(raw)
        major = int(str(values["format"]).partition(".")[0])
    except (ValueError, KeyError, TypeError):
        raise _manifest_changed(path) from None
    if major > int(FORMAT.partition(".")[0]):
        raise BundleTooNew(
            "written by a newer Espalier",
            where=f"bundle {path}",
            got=f"format {values['format']}",
            expected=f"at most {FORMAT.partition('.')[0]}.x",
            fix="upgrade Espalier or train the bundle again with this version",
        )
    try:
        manifest = Manifest.model_validate(values)
    except ValidationError:
        raise _manifest_changed(path) from None
    if raw != manifest_bytes(values):
        raise _manifest_changed(path)
    verify(path, raw, settings().verify_key)
    bundle = Bundle(path, manifest)
    for name in manifest.files:
        bundle.read(name)
    return bundle


def manifest_bytes(values: dict[str, Any]) -> bytes:
    """The one way to write a manifest; `digest` is the hash of the same text without it."""
    body = {key: value for key, value in values.items() if key != "digest"}
    digest = sha256(json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False).encode())
    return json.dumps(body | {"digest": digest}, indent=1, sort_keys=True, ensure_ascii=False).encode()


def newest(system: str) -> Path | None:
    """The newest trained bundle of a system on this machine, by version; None when there is none."""
    folders = sorted((settings().home / "bundles" / system).glob(f"[0-9]*/{MANIFEST}"))
    return folders[-1].parent if folders else None


def _manifest_changed(path: Path) -> BundleCorrupted:
    return BundleCorrupted(
        "the manifest changed since it was written",
        where=f"bundle {path}, file {MANIFEST}",
        fix="restore the bundle from the registry or train it again",
    )
