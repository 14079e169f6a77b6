"""The issuer's public keys (RFC 7517), from a file or a URL: cached, rotated, and never in the way of a request twice.

PyJWT's own client is not used: it blocks its thread while it fetches, and tries again on every request while the
issuer is down, which lets anybody with a made-up key id hold up the service.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from common.errors import UsageError
from common.serving.security.errors import IssuerUnavailable

logger = logging.getLogger("espalier.security")

ALGORITHMS = ("RS256", "ES256", "EdDSA")
"""Asymmetric only: with a shared secret every service that verifies could also sign; "none" is no signature."""
FRESH_S = 300.0
"""Keys are fetched again after this, beside the requests; after twice this (an idle service) a request waits for it.
So a key that the issuer has withdrawn lives at most so long, while the issuer can be reached."""
STALE_S = 3600.0
"""While the issuer cannot be reached, known keys serve at most this long."""
COOLDOWN_S = 30.0
"""Between two fetches, failed or not: an unknown key id is no way to make us call the issuer."""
TIMEOUT_S = 3.0
MOST_BYTES = 1 << 20
LEAST_RSA_BITS = 2048  # NIST SP 800-131A


class Jwks:
    """The keys by id; `source` is an `https://` URL or a file."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._keys: dict[str, PyJWK] = {}
        self._fetched = self._tried = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        if not source.startswith(("http://", "https://")):
            self._take(_read(Path(source)))  # a wrong file is found at the start; a URL may come up after us

    async def key(self, key_id: str | None) -> PyJWK | None:
        """The key of this id (without one: the only key there is), fetched when unknown or old.

        Raises `IssuerUnavailable` when no keys are known or they are too old.
        """
        age = time.monotonic() - self._fetched
        known = self._find(key_id)
        if known is None or age > FRESH_S:
            task = self._refresh()
            if task and (known is None or age > 2 * FRESH_S):
                await asyncio.shield(task)  # one client that leaves must not cancel what others wait for
        if time.monotonic() - self._fetched > STALE_S:
            raise IssuerUnavailable
        return self._find(key_id)

    def _find(self, key_id: str | None) -> PyJWK | None:
        if key_id is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(key_id)

    def _refresh(self) -> asyncio.Task[None] | None:
        """The one fetch under way, a new one, or None while it is too early."""
        if self._fetching and not self._fetching.done():
            return self._fetching
        if time.monotonic() - self._tried < COOLDOWN_S:
            return None
        self._tried = time.monotonic()
        self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            if self.source.startswith(("http://", "https://")):
                async with asyncio.timeout(TIMEOUT_S):
                    content = await _get(self.source)
            else:
                content = _read(Path(self.source))
            self._take(content)
        except Exception as error:  # whatever it is, the known keys go on
            logger.error("the issuer's keys cannot be had: %s", error or type(error).__name__)

    def _take(self, content: bytes) -> None:
        keys = parse(content, self.source)
        if set(keys) != set(self._keys):
            logger.info("the issuer's keys: %d", len(keys))
        self._keys, self._fetched = keys, time.monotonic()


def parse(content: bytes, source: str) -> dict[str, PyJWK]:
    """The usable signing keys of a JWK set; raises `UsageError` when there is none."""
    try:
        entries: Any = json.loads(content)["keys"]
        candidates = [entry for entry in entries if entry.get("use", "sig") == "sig"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UsageError("not a JWK set", where=source, expected='{"keys": [...]}') from None
    keys: dict[str, PyJWK] = {}
    for entry in candidates:
        if "d" in entry:
            raise UsageError(
                "a private key", where=source, expected="public keys only", fix="replace the key: it leaked"
            )
        try:
            key = PyJWK(entry)
        except (PyJWTError, TypeError, ValueError):  # of a kind that we do not know
            continue
        strong = key.key_type != "RSA" or key.key.key_size >= LEAST_RSA_BITS
        if key.algorithm_name in ALGORITHMS and strong:
            keys[str(key.key_id or "")] = key
    if not keys:
        expected = f"a public key for {', '.join(ALGORITHMS)}, RSA with at least {LEAST_RSA_BITS} bits"
        raise UsageError("no key to verify tokens with", where=source, expected=expected)
    return keys


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"the JWKS file cannot be read ({error.strerror})", where=str(file)) from None


async def _get(url: str) -> bytes:
    import httpx  # 0.1 s to import: only for who uses it

    async with (
        httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as client,
        client.stream("GET", url, headers={"accept": "application/json"}) as response,
    ):
        if response.status_code != 200:
            raise UsageError("the issuer did not give its keys", where=url, got=response.status_code, expected=200)
        content = b""
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > MOST_BYTES:
                raise UsageError("the JWK set is too large", where=url, expected=f"at most {MOST_BYTES:,} bytes")
        return content
