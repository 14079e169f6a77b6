"""A model behind an OpenAI-compatible chat endpoint (`POST <url>/chat/completions`)."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from common.errors import UsageError
from common.llm.writer import LlmSettings, Message, WriterFailed

MOST_BYTES = 1_000_000
"""Of an answer's body; a longer one is garbage."""
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
HERE = frozenset({"localhost", "127.0.0.1", "::1"})


class _Content(BaseModel):
    content: str


class _Choice(BaseModel):
    message: _Content


class _Completion(BaseModel):
    choices: list[_Choice]


class ChatEndpoint:
    """Sends messages with temperature 0, and again after a fault that may pass; follows no redirect.

    Raises `UsageError` for a url that is none, or where the key would go over the net in plain text.
    """

    def __init__(self, settings: LlmSettings) -> None:
        parts = urlsplit(settings.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError("not the url of an endpoint", where="ESPALIER_LLM_URL", expected="https://<host>/v1")
        key = settings.key.get_secret_value()
        if key and parts.scheme == "http" and parts.hostname not in HERE:
            raise UsageError("the key would be sent in plain text", where="ESPALIER_LLM_URL", fix="use https")
        self._settings, self._url = settings, f"{settings.url.rstrip('/')}/chat/completions"
        self._client = httpx.Client(
            timeout=settings.timeout_s, headers={"Authorization": f"Bearer {key}"} if key else {}
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def write(self, messages: list[Message]) -> str:
        """The first choice's text. Raises `WriterFailed` when every try failed or the answer is none."""
        body = {
            "model": self._settings.model,
            "messages": [message._asdict() for message in messages],
            "temperature": 0,
            "max_tokens": self._settings.tokens,
        }
        for left in range(self._settings.retries, -1, -1):
            try:
                return self._once(body)
            except _Again as fault:
                if not left:
                    raise WriterFailed(str(fault), where=self._host, fix="it may answer later") from None
                time.sleep(self._settings.pause_s * 2 ** (self._settings.retries - left))
        raise AssertionError

    @property
    def _host(self) -> str:
        return f"chat endpoint {urlsplit(self._url).hostname}"

    def _once(self, body: dict[str, object]) -> str:
        until = time.monotonic() + self._settings.timeout_s
        try:
            with self._client.stream("POST", self._url, json=body) as answer:
                if answer.status_code in AGAIN:
                    raise _Again(f"it answered {answer.status_code}")
                if answer.status_code != 200:
                    raise WriterFailed(f"it answered {answer.status_code}", where=self._host, fix="see ESPALIER_LLM_*")
                content = bytearray()
                for part in answer.iter_bytes():
                    content += part
                    if len(content) > MOST_BYTES:
                        raise WriterFailed("its answer is too long", where=self._host)
                    if time.monotonic() > until:  # bytes that trickle never time out by themselves
                        raise _Again("its answer took too long")
        except httpx.TimeoutException:
            raise _Again("it did not answer in time") from None
        except httpx.HTTPError as error:
            raise _Again(f"the connection failed ({type(error).__name__})") from None
        try:
            text = _Completion.model_validate_json(bytes(content)).choices[0].message.content.strip()
        except (ValidationError, IndexError):
            raise WriterFailed("its answer is no chat completion", where=self._host) from None
        if not text:
            raise WriterFailed("its answer is empty", where=self._host)
        return text


class _Again(Exception):
    """A fault that may pass."""
