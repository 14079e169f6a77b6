"""What all language models have in common, and which one the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.errors import EspalierError


class Message(NamedTuple):
    """One message to a model."""

    role: Literal["system", "user", "assistant"]
    content: str


class WriterFailed(EspalierError):
    """The model did not answer, or not with text; the sentence says nothing of what it was asked."""


class Writer(Protocol):
    """Writes the next message."""

    def write(self, messages: list[Message]) -> str:
        """The answer, stripped, never empty. Raises `WriterFailed`."""
        ...


class LlmSettings(BaseSettings):
    """Which model writes, from `ESPALIER_LLM_*`: an endpoint by `url`, or a `folder`; with neither, none."""

    model_config = SettingsConfigDict(env_prefix="ESPALIER_LLM_", env_file=".env", extra="ignore")

    url: str = Field("", description="OpenAI-compatible endpoint, up to and with /v1")
    model: str = Field("", description="name of the model at the endpoint")
    key: SecretStr = Field(SecretStr(""), description="sent as a bearer token, over https or to this machine only")
    folder: Path | None = Field(None, description="folder of a transformers causal model with its tokenizer")
    timeout_s: float = Field(8, gt=0, le=120, description="for each try")
    retries: int = Field(1, ge=0, le=5, description="after a timeout, a lost connection, 429 or 5xx")
    pause_s: float = Field(0.3, ge=0, le=10, description="before a try again; doubles each time")
    tokens: int = Field(300, ge=16, le=4096, description="most that an answer may have")


def writer(settings: LlmSettings) -> Writer | None:
    """The model that the settings name, or None. Raises `UsageError` when they cannot be right."""
    if settings.url:
        from common.llm.chat import ChatEndpoint

        return ChatEndpoint(settings)
    if settings.folder:
        from common.llm.local import LocalModel

        return LocalModel(settings.folder, tokens=settings.tokens)
    return None
