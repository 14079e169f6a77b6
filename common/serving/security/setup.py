"""From settings to a guarded app, or to a sentence why it must not start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from fastapi import FastAPI
from prometheus_client import Counter
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from common.errors import UsageError
from common.serving.security.authenticate import Authenticate
from common.serving.security.buckets import Buckets, RateLimit
from common.serving.security.guard import Gate, Guard
from common.serving.security.headers import SecureHeaders, cors, origins_of
from common.serving.security.keyring import Keyring
from common.serving.security.policy import RULES, Policy

DEFAULTS = (
    {"admin", "administrator", "changeme", "change-me", "default", "espalier", "example", "guest", "letmein", "mlflow"}
    | {"mysecretpassword", "none", "passw0rd", "password", "postgres", "qwerty", "redis", "root", "secret", "test"}
    | {"changemechangeme", "changethispassword", "insecurepassword", "replace-this-password", "yourpassword", "user"}
)
LEAST_CHARACTERS = 12


class SecuritySettings(Protocol):
    """What this package reads of `common.config.Settings`."""

    @property
    def environment(self) -> str: ...  # noqa: D102
    @property
    def keys_file(self) -> Path | None: ...  # noqa: D102
    @property
    def jwt_issuer(self) -> str: ...  # noqa: D102
    @property
    def jwt_audience(self) -> str: ...  # noqa: D102
    @property
    def jwt_jwks(self) -> str: ...  # noqa: D102
    @property
    def rate_per_s(self) -> float: ...  # noqa: D102
    @property
    def rate_burst(self) -> int: ...  # noqa: D102
    @property
    def cors_origins(self) -> str: ...  # noqa: D102
    @property
    def metrics_open(self) -> bool: ...  # noqa: D102
    @property
    def redis_url(self) -> str: ...  # noqa: D102
    @property
    def database_url(self) -> str: ...  # noqa: D102
    @property
    def tracking_uri(self) -> str: ...  # noqa: D102


def secure(app: FastAPI, settings: SecuritySettings, systems: Sequence[str], rejected: Counter) -> Gate:
    """Put guard, headers and CORS around `app`; call it once `Observe` is added, the order is then right.

    `systems` are full names. Returns the gate, to whose policy a system's own routes are added (`Policy.allow_own`).
    Raises `UsageError` when a setting is wrong or, in production, authentication is missing or a secret is weak.
    """
    authenticate = authenticator(settings)
    if settings.environment == "production":
        check_production(settings, authenticate)
    rules = RULES if settings.metrics_open else (("GET", "/metrics", "metrics"), *RULES)
    policy, origins = Policy(systems, rules), origins_of(settings.cors_origins)
    gate = Gate(policy, authenticate, _rates(settings.redis_url), origins)
    # innermost: Observe has given the request its id
    app.user_middleware.append(Middleware(Guard, gate=gate, rejected=rejected))
    app.add_middleware(SecureHeaders)
    if origins:
        app.add_middleware(CORSMiddleware, **cors(origins))  # type: ignore[arg-type]
    return gate


def authenticator(settings: SecuritySettings) -> Authenticate | None:
    """What the settings ask for, or None; raises `UsageError` for half a configuration."""
    rate, burst = settings.rate_per_s, settings.rate_burst
    keys = Keyring(settings.keys_file, rate, burst) if settings.keys_file else None
    given = {"ISSUER": settings.jwt_issuer, "AUDIENCE": settings.jwt_audience, "JWKS": settings.jwt_jwks}
    missing = [f"ESPALIER_JWT_{name}" for name, value in given.items() if not value]
    if len(missing) == len(given):
        return Authenticate(keys, None) if keys is not None else None
    if missing:
        raise UsageError("tokens are configured by half", expected=f"{' and '.join(missing)} too")
    try:
        from common.serving.security.jwks import Jwks
        from common.serving.security.tokens import Tokens
    except ModuleNotFoundError as error:
        raise UsageError("tokens need PyJWT", got=f"no {error.name}", fix="install `espalier[serve]`") from None
    return Authenticate(keys, Tokens(settings.jwt_issuer, settings.jwt_audience, Jwks(settings.jwt_jwks), rate, burst))


def check_production(settings: SecuritySettings, authenticate: Authenticate | None) -> None:
    """Refuse what is fine on a laptop only; raises `UsageError`."""
    where = "ESPALIER_ENVIRONMENT=production"
    if authenticate is None:
        fix = "set ESPALIER_KEYS_FILE (`espalier key create`) or ESPALIER_JWT_ISSUER, _AUDIENCE and _JWKS"
        raise UsageError("a service in production needs authentication", where=where, fix=fix)
    if authenticate.tokens is None and authenticate.keys is not None and not authenticate.keys.active:
        raise UsageError("no key is active", where=str(settings.keys_file), fix="run `espalier key create`")
    if settings.jwt_jwks.startswith("http://"):
        raise UsageError("keys fetched without TLS can be anybody's", where="ESPALIER_JWT_JWKS", expected="https://")
    for name in ("redis_url", "database_url", "tracking_uri"):
        _check_password(name, getattr(settings, name))


def _check_password(name: str, url: str) -> None:
    """A default or short password in a URL; none at all may be right (socket, certificate, password file)."""
    try:
        parts = urlsplit(url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        return
    if not password:
        return
    if password.lower() in DEFAULTS or password == user or len(password) < LEAST_CHARACTERS:
        raise UsageError(
            "a default or weak password",
            where=name.upper(),
            expected=f"at least {LEAST_CHARACTERS} random characters",
            fix="make one with `openssl rand -hex 24`",
        )


def _rates(redis_url: str) -> RateLimit:
    if not redis_url:
        return Buckets()
    try:
        from common.serving.security.shared_buckets import SharedBuckets

        return SharedBuckets(redis_url)
    except ModuleNotFoundError:
        raise UsageError("REDIS_URL is set but redis is not installed", fix="install `espalier[redis]`") from None
    except ValueError as error:
        raise UsageError("not a Redis URL", where="REDIS_URL", expected=str(error)) from None
