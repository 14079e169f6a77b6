"""What of a decision may be kept: sensitive values and subjects only as keyed hashes.

HMAC-SHA256 and not a plain hash: ages and sexes are few, so a plain hash is undone by trying them all.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from common.errors import UsageError

LEAST_BYTES = 16


class Mask:
    """Hashes with one secret, so that equal values stay equal and nothing else is told."""

    def __init__(self, secret: bytes, *, everything: bool = False) -> None:
        self._secret, self._everything = secret, everything

    def subject(self, key: bytes) -> str:
        """The stored form of a subject key: 64 hexadecimal digits."""
        return hmac.digest(self._secret, b"subject:" + key, "sha256").hex()

    def inputs(self, row: Mapping[str, Any], sensitive: Collection[str]) -> Mapping[str, Any]:
        """A request with its sensitive fields hashed (all of them, when the mask is for everything)."""
        if self._everything:
            return {name: self._value(name, value) for name, value in row.items()}
        if not sensitive:
            return row
        return {name: self._value(name, value) if name in sensitive else value for name, value in row.items()}

    def answer(self, answer: Any, sensitive: Collection[str], hidden: Collection[str] = ()) -> Any:
        """An answer in which no part that names a sensitive `field` shows its `value`, as reasons do, and no part
        called as one of `hidden` shows anything, wherever it stands."""
        if isinstance(answer, Mapping):
            told = answer.get("field") in sensitive or (self._everything and "field" in answer)
            return {
                name: self._value(str(answer["field"]), value)
                if told and name == "value"
                else self._value(name, value)
                if name in hidden
                else self.answer(value, sensitive, hidden)
                for name, value in answer.items()
            }
        return [self.answer(part, sensitive, hidden) for part in answer] if isinstance(answer, list) else answer

    @property
    def plain_answers(self) -> bool:
        """Whether answers without sensitive fields need no second look."""
        return not self._everything

    def _value(self, name: str, value: Any) -> str | None:
        if value is None:
            return None
        return f"#{hmac.digest(self._secret, name.encode() + b'=' + to_json(value), 'sha256').hex()[:16]}"


def secret_of(given: str, home: Path) -> bytes:
    """The given secret, or that of this machine: 32 random bytes in `<home>/audit.key`, made when first needed.

    Raises `UsageError` for a secret that is too short, or a file that others may read.
    """
    if given:
        if len(given.encode()) < LEAST_BYTES:
            fix = "make one with `openssl rand -hex 24`"
            raise UsageError("too short a secret", where="ESPALIER_AUDIT_SECRET", expected="16 characters", fix=fix)
        return given.encode()
    path = home / "audit.key"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            raise UsageError("others may read the audit secret", where=str(path), fix=f"chmod 600 {path}") from None
        return path.read_bytes()
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret := os.urandom(32))
        os.fsync(file.fileno())
    return secret
