"""JSON Web Tokens of one OpenID Connect issuer as access tokens (RFC 7519, 8725, 9068)."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import jwt
from jwt.exceptions import ExpiredSignatureError, PyJWTError

from common.serving.security.caller import SCOPE, Caller
from common.serving.security.jwks import ALGORITHMS, Jwks

KEEP_S = 60.0
"""A verified token is believed this long without another look at its signature, and never past its expiry."""
MOST_KEPT = 4096
LEEWAY_S = 10.0
"""Between the issuer's clock and ours."""
MOST_CHARACTERS = 8192
MOST_SUBJECT = 255  # OpenID Connect Core 1.0, section 2


class Expired(Exception):
    """Rightly signed, but too old; only who had the token can learn it."""


class Tokens:
    """Answers which caller a token belongs to."""

    def __init__(self, issuer: str, audience: str, jwks: Jwks, rate: float, burst: int) -> None:
        self.issuer, self.audience, self.jwks, self.rate, self.burst = issuer, audience, jwks, rate, burst
        # By hash, so that how long a look-up takes tells nothing of a token. Oldest first, as dicts are.
        self._kept: dict[bytes, tuple[Caller, float]] = {}

    def kept(self, token: str) -> Caller | None:
        """The caller of a token verified a moment ago: the hot path, without an await."""
        kept = self._kept.get(hashlib.sha256(token.encode()).digest())
        return kept[0] if kept and time.time() < kept[1] else None

    async def caller(self, token: str) -> Caller | None:
        """The caller of a token, or None, for whatever reason; raises `Expired`, or `IssuerUnavailable`."""
        if len(token) > MOST_CHARACTERS:
            return None
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                return None
            key = await self.jwks.key(header.get("kid"))
            if key is None:
                return None
            # PyJWT refuses a token whose algorithm is not that of the key, so that none can be mistaken for another.
            claims = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                issuer=self.issuer,
                audience=self.audience,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except ExpiredSignatureError:
            raise Expired from None
        except (PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            return None
        if len(claims["sub"]) > MOST_SUBJECT:
            return None
        caller = self._caller(claims)
        self._keep(token, caller, float(claims["exp"]) + LEEWAY_S)
        return caller

    def _caller(self, claims: dict[str, Any]) -> Caller:
        granted = claims.get("scope")
        words = granted.split() if isinstance(granted, str) else ()
        # "openid", "profile" and the like are for others.
        scopes = frozenset(word for word in words if SCOPE.fullmatch(word))
        return Caller(f"jwt:{claims['sub']}", scopes, self.rate, self.burst)

    def _keep(self, token: str, caller: Caller, expires: float) -> None:
        now = time.time()
        if len(self._kept) >= MOST_KEPT:
            fresh = {digest: kept for digest, kept in self._kept.items() if kept[1] > now}
            self._kept = fresh if len(fresh) < MOST_KEPT else dict(list(fresh.items())[MOST_KEPT // 4 :])
        self._kept[hashlib.sha256(token.encode()).digest()] = (caller, min(expires, now + KEEP_S))
