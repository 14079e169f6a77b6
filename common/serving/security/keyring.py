"""The keys of a running service: a constant-time check per request, and a revoked key gone within a second."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from common.errors import UsageError
from common.serving.security.caller import Caller
from common.serving.security.keyfile import KEY, KeyRecord, read_keys

logger = logging.getLogger("espalier.security")

LOOK_S = 1.0
"""The file is looked at (one stat) at most this often."""


@dataclass(frozen=True, slots=True)
class _Entry:
    salt: bytes
    hash: bytes
    expires: float
    caller: Caller


class Keyring:
    """Answers which caller a key belongs to; raises `UsageError` at the start for a file that cannot be used."""

    def __init__(self, file: Path, rate: float, burst: int) -> None:
        self.file, self.rate, self.burst = file, rate, burst
        self._seen = self._mark()
        self._looked = time.monotonic()
        self._entries = self._read()
        # Keys that were right, by a keyed hash that takes 0.6 µs and tells nothing by its time. OpenSSL's takes three
        # times as long and gives the interpreter away meanwhile.
        self._secret, self._accepted = secrets.token_bytes(64), dict[bytes, _Entry]()
        # An unknown id is checked against this: it takes as long as a known one and never matches.
        self._nobody = _Entry(secrets.token_bytes(32), secrets.token_bytes(32), 0.0, Caller("", frozenset(), 0, 0))

    @property
    def active(self) -> int:
        """How many keys are accepted now."""
        now = time.time()
        return sum(entry.expires > now for entry in self._entries.values())

    def caller(self, key: str) -> Caller | None:
        """The caller of a key, or None, for whatever reason."""
        if time.monotonic() - self._looked > LOOK_S:
            self._look()
        mark = hashlib.blake2b(key.encode(), key=self._secret).digest()
        entry = self._accepted.get(mark)
        if entry is None:
            match = KEY.fullmatch(key)
            if not match:
                return None
            entry = self._entries.get(match[1], self._nobody)
            if not hmac.compare_digest(hmac.digest(entry.salt, match[2].encode(), "sha256"), entry.hash):
                return None
            self._accepted[mark] = entry
        return entry.caller if time.time() < entry.expires else None

    def _look(self) -> None:
        """Read a changed file; one that cannot be read changes nobody's access, and the log says so until mended."""
        self._looked = time.monotonic()
        mark = self._mark()
        if mark == self._seen:
            return
        try:
            self._entries = self._read()
            self._accepted.clear()
        except UsageError as error:
            logger.error("the keys stay as they were: %s", error)
        else:
            self._seen = mark
            logger.info("keys read again, %d accepted", self.active)

    def _mark(self) -> tuple[int, ...]:
        try:
            found = self.file.stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size

    def _read(self) -> dict[str, _Entry]:
        return {record.id: self._entry(record) for record in read_keys(self.file) if not record.disabled}

    def _entry(self, record: KeyRecord) -> _Entry:
        rate = record.rate or self.rate
        burst = record.burst or (self.burst if record.rate is None else max(1, round(2 * rate)))
        caller = Caller(f"key:{record.id}", frozenset(record.scopes), rate, burst)
        expires = record.expires.timestamp() if record.expires else float("inf")
        return _Entry(bytes.fromhex(record.salt), bytes.fromhex(record.hash), expires, caller)
