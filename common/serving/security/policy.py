"""Which scope a route needs, as data. What no rule names needs `admin`: a new route is closed until a rule opens it.

The path is matched as the router will see it (percent-decoded, without root path, nothing normalised), so a path that
is spelt otherwise (`//`, `..`, other case) matches no rule and is closed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from common.serving.security.caller import OF_A_SYSTEM, check_scope

ADMIN = frozenset({"admin"})
OPEN: frozenset[str] = frozenset()
"""Needs no credential."""
ANY = frozenset({"*"})
"""Any accepted credential, whatever its scopes."""
NEEDS = "x-espalier-scope"
"""What a route of a system's own says of itself in OpenAPI: words of scopes, of which one is enough."""

# (methods, path, scope). "{system}" is a name that this service has, short or full; "{}" is one segment; "{...}" is
# all that follows, or nothing. GET includes HEAD; "WS" is a WebSocket. The first rule that fits decides.
RULES: tuple[tuple[str, str, str], ...] = (
    ("GET", "/health/live", "open"),
    ("GET", "/health/ready", "open"),
    ("GET", "/metrics", "open"),
    ("GET", "/v2/health/live", "open"),
    ("GET", "/v2/health/ready", "open"),
    ("GET", "/", "any"),
    ("GET", "/docs", "any"),
    ("GET", "/docs/{}", "any"),
    ("GET", "/openapi.json", "any"),
    ("GET", "/v1/models", "any"),
    ("GET", "/v1/models/{}", "any"),
    ("GET", "/v1/monitor", "metrics"),
    ("GET", "/v1/monitor/{}", "metrics"),
    ("POST", "/v1/feedback", "feedback"),
    ("POST", "/v1/feedback/{...}", "feedback"),
    ("POST", "/v1/{system}/feedback", "feedback"),
    ("POST", "/v1/{system}/predict", "predict"),
    ("POST", "/v1/{system}/predict/batch", "predict"),
    ("GET", "/v2", "any"),
    ("GET", "/v2/models/{}", "any"),
    ("GET", "/v2/models/{}/ready", "any"),
    ("GET", "/v2/models/{}/versions/{}", "any"),
    ("GET", "/v2/models/{}/versions/{}/ready", "any"),
    ("POST", "/v2/models/{system}/infer", "predict"),
    ("POST", "/v2/models/{system}/versions/{}/infer", "predict"),
    ("GET POST WS", "/console", "predict:*"),
    ("GET POST WS", "/console/{...}", "predict:*"),
)


class Policy:
    """The rules for a service of these systems (full names, `vertical.system`)."""

    def __init__(self, systems: Sequence[str], rules: Sequence[tuple[str, str, str]] = RULES) -> None:
        self._exact: dict[tuple[str, str], frozenset[str]] = {}
        self._patterns: list[tuple[frozenset[str], re.Pattern[str], frozenset[str]]] = []
        for methods, path, scope in rules:
            for place, full in _places(path, systems):
                self._add(frozenset(methods.split()), place, _sufficient(scope, full))

    def allow_own(self, system: str, prefix: str, routes: Iterable[Any]) -> None:
        """A system's own routes (of its `APIRouter`, mounted at `prefix`) need the system's `predict` scope, or one of
        those that a route names by `openapi_extra={"x-espalier-scope": ["cases"]}`. Raises `UsageError` for a word
        that no key can have."""
        for route in routes:
            words = (getattr(route, "openapi_extra", None) or {}).get(NEEDS) or ["predict"]
            for word in words:
                check_scope(f"{word}:*" if word in OF_A_SYSTEM else word)
            path = prefix + re.sub(r"\{\w+:path\}", "{...}", re.sub(r"\{\w+(:(?!path)\w+)?\}", "{}", route.path))
            methods = frozenset(getattr(route, "methods", None) or {"WS"})
            self._add(methods, path, frozenset().union(*(_sufficient(word, system) for word in words)))

    def needed(self, method: str, path: str) -> frozenset[str]:
        """The scopes of which one is enough; `OPEN` and `ANY` are special."""
        if method == "HEAD":
            method = "GET"
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact
        for methods, pattern, scopes in self._patterns:
            if method in methods and pattern.fullmatch(path):
                return scopes
        return ADMIN

    def _add(self, methods: frozenset[str], path: str, scopes: frozenset[str]) -> None:
        if "{" in path:
            self._patterns.append((methods, _pattern(path), scopes))
            return
        for method in methods:
            # an earlier pattern that fits comes first, as the rules say
            earlier = (found for kinds, pattern, found in self._patterns if method in kinds and pattern.fullmatch(path))
            self._exact.setdefault((method, path), next(earlier, scopes))


def _places(path: str, systems: Sequence[str]) -> list[tuple[str, str]]:
    if "{system}" not in path:
        return [(path, "")]
    return [(path.replace("{system}", name), full) for full in systems for name in (full.rpartition(".")[2], full)]


def _sufficient(scope: str, full: str) -> frozenset[str]:
    match scope:
        case "open":
            return OPEN
        case "any":
            return ANY
        case word if word in OF_A_SYSTEM:
            return frozenset({f"{word}:{full}", f"{word}:{full.rpartition('.')[2]}", f"{word}:*", "admin"})
    return frozenset({scope, "admin"})


def told(needed: frozenset[str]) -> list[str]:
    """Of the scopes of which one is enough those to ask for: the narrowest of each kind, not `admin` if others do."""
    kinds: dict[str, str] = {}
    for scope in sorted(needed - ADMIN or ADMIN, key=lambda scope: (scope.endswith("*"), len(scope))):
        kinds.setdefault(scope.partition(":")[0], scope)
    return list(kinds.values())


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\.\.\.\}|\{\})", path)
    return re.compile("".join({"{...}": "(?s:.*)", "{}": "[^/]+"}.get(part, re.escape(part)) for part in parts))
