"""Refusals of the guard; `headers` travel with the problem (`problems.respond` copies them)."""

from __future__ import annotations

import math

from common.errors import RequestError


class Unauthenticated(RequestError):
    """No credential, or one that is not accepted; one text for all reasons, so that it tells of no key."""

    status = 401

    def __init__(self, challenge: str, what: str = "this route needs a credential that is accepted here") -> None:
        fix = "send an API key or a token as `Authorization: Bearer ...`, or either as `X-API-Key`"
        super().__init__(what, fix=fix)
        self.headers = {"WWW-Authenticate": challenge}


class Forbidden(RequestError):
    """The caller is known but lacks the scope."""

    status = 403

    def __init__(self, what: str, *, expected: str, challenge: str = "") -> None:
        super().__init__(what, expected=expected)
        self.headers = {"WWW-Authenticate": challenge} if challenge else {}


class TooManyRequests(RequestError):
    """The caller's bucket is empty for `wait_s` seconds."""

    status = 429

    def __init__(self, rate: float, burst: int, wait_s: float) -> None:
        after = max(1, math.ceil(wait_s))
        expected = f"at most {rate:g} per second and {burst} at once"
        super().__init__("too many requests with this credential", expected=expected, fix=f"retry after {after} s")
        self.headers = {"Retry-After": str(after)}


class IssuerUnavailable(RequestError):
    """The issuer's keys cannot be had, so no token can be judged; a 401 would make clients throw good ones away."""

    status = 503

    def __init__(self) -> None:
        super().__init__("tokens cannot be checked now", fix="retry later or use an API key")
        self.headers = {"Retry-After": "5"}


class HeadersTooLarge(RequestError):
    """Too many or too long headers, or too long a URL."""

    status = 431


class SlowBody(RequestError):
    """The body did not arrive in time."""

    status = 408
