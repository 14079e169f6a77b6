"""Who asks: an id, what it may do, how often."""

from __future__ import annotations

import re
from dataclasses import dataclass

from common.errors import UsageError

SCOPE = re.compile(r"predict:(\*|[a-z0-9_]+(\.[a-z0-9_]+)?)|feedback|metrics|admin")
GRAMMAR = "predict:<system>, predict:*, feedback, metrics or admin"


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
