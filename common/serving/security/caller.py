"""Who asks: an id, what it may do, how often."""

from __future__ import annotations

import re
from dataclasses import dataclass

from common.errors import UsageError

OF_A_SYSTEM = ("predict", "cases", "rules")
"""Scopes that are given for one system, `predict:<system>`, or for all, `predict:*`; a route of a system's own says
which it needs. Any other word is refused where it is written, in a key and on a route alike."""
SCOPE = re.compile(rf"({'|'.join(OF_A_SYSTEM)}):(\*|[a-z0-9_]+(\.[a-z0-9_]+)?)|feedback|metrics|admin")
GRAMMAR = f"{', '.join(f'{word}:<system>' for word in OF_A_SYSTEM)} (or :*), feedback, metrics or admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated client; `id` is safe to log and store (never the secret), `rate` is requests per second."""

    id: str
    scopes: frozenset[str]
    rate: float
    burst: int


def check_scope(scope: str) -> str:
    """`scope`, or `UsageError`: a misspelt scope would silently grant nothing."""
    if not SCOPE.fullmatch(scope):
        raise UsageError("no such scope", got=repr(scope), expected=GRAMMAR)
    return scope
