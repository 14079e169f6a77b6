"""Settings of the machine (environment) and of a run (presets and `key=value` overrides)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from platformdirs import user_cache_path
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.errors import UsageError

CHECKOUT = Path(__file__).resolve().parents[2]
"""The folder that holds the project; `shared/` may lie beside it."""


class Strict(BaseModel):
    """A frozen record that refuses unknown fields: the base of every config, card and manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Settings(BaseSettings):
    """What the machine decides, read from `ESPALIER_*` variables or a `.env` file."""

    model_config = SettingsConfigDict(env_prefix="ESPALIER_", env_file=".env", extra="ignore")

    environment: Literal["development", "production"] = "development"
    home: Path = Field(default_factory=lambda: user_cache_path("espalier"), description="cache, bundles, registry")
    data_mirror: str = Field("", description="folder or URL laid out as <id>/<file>")
    models: Path = Field(CHECKOUT / "shared" / "models", description="pretrained backbones, laid out as <id>/<file>")
    offline: bool = Field(False, description="never open a connection for data or weights")
    tracking_uri: str = Field("", description="MLflow server; default sqlite:///<home>/mlflow.db")
    signing_key: Path | None = Field(None, description="Ed25519 private key (PEM): bundles are signed when saved")
    verify_key: Path | None = Field(None, description="Ed25519 public key (PEM): unsigned bundles are refused")
    keys_file: Path | None = Field(None, description="hashed API keys, made by `espalier key create`")
    jwt_issuer: str = Field("", description="OIDC issuer whose tokens are accepted")
    jwt_audience: str = Field("", description="what a token's `aud` must name")
    jwt_jwks: str = Field("", description="URL or file of the issuer's public keys (JWKS)")
    rate_per_s: float = Field(100, gt=0, description="requests per second of a caller whose key names no rate")
    rate_burst: int = Field(200, ge=1, description="requests such a caller may send at once")
    cors_origins: str = Field("", description="origins browsers may call from, separated by commas; none by default")
    console: bool | None = Field(None, description="the page `/console`; default: on in development, off in production")
    metrics_open: bool = Field(True, description="`/metrics` needs no credential")
    audit: bool = Field(True, description="put every decision on record")
    audit_inputs: Literal["masked", "hashed"] = Field("masked", description="only sensitive fields hashed, or all")
    audit_secret: str = Field("", description="keys the hashes; default a random one in <home>/audit.key")
    audit_window_s: float = Field(0.5, gt=0, le=60, description="kill -9 loses at most the decisions of this time")
    audit_days: float = Field(365, gt=0, description="older decisions are deleted")
    audit_required: bool = Field(False, description="refuse requests whose decisions cannot be put on record")
    database_url: str = Field("", validation_alias=AliasChoices("ESPALIER_DATABASE_URL", "DATABASE_URL"))
    redis_url: str = Field("", validation_alias=AliasChoices("ESPALIER_REDIS_URL", "REDIS_URL"))

    @property
    def mlflow_uri(self) -> str:
        """MLflow's file store is retired, so the default is a local SQLite file."""
        return self.tracking_uri or f"sqlite:///{self.home / 'mlflow.db'}"


@lru_cache
def settings() -> Settings:
    """The settings, read once; tests call `settings.cache_clear()` after changing the environment."""
    return Settings()


ConfigT = TypeVar("ConfigT", bound=BaseModel)


def build_config(
    config_type: type[ConfigT], presets: dict[str, dict[str, Any]], preset: str, overrides: list[str]
) -> ConfigT:
    """A preset with `a.b=value` overrides applied.

    Raises `UsageError` naming the preset or the field, what was got and what is known.
    """
    if preset not in presets:
        raise UsageError("unknown preset", got=repr(preset), expected=f"one of {', '.join(presets)}")
    values: dict[str, Any] = json.loads(json.dumps(presets[preset]))
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign or not key:
            raise UsageError("an override is written key=value", got=repr(override), expected="for example seed=7")
        node = values
        *parents, leaf = key.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise UsageError(
                    "only sections have fields", where=key, got=f"{parent!r}, a value", expected="a section"
                )
        node[leaf] = _parse(text)
    try:
        return config_type.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        expected = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        if first["type"] == "extra_forbidden":
            known = _section(config_type, first["loc"][:-1]).model_fields
            raise UsageError("unknown setting", where=where, fix=f"known are {', '.join(known)}") from None
        raise UsageError("bad setting", where=where, got=repr(first["input"]), expected=expected) from None


def _section(config_type: type[BaseModel], path: Sequence[int | str]) -> type[BaseModel]:
    """The part of a config where a path of names leads; the keys of a mapping lead no further."""
    for name in path:
        if field := config_type.model_fields.get(str(name)):
            kinds = (field.annotation, *get_args(field.annotation))
            config_type = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), config_type)
    return config_type


def _parse(text: str) -> Any:
    """`3`, `0.1`, `true`, `null`, `[1,2]` as JSON; anything else is text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
