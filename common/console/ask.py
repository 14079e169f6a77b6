"""The console's questions: requests to the service's own public routes, in process, as the person who asks.

Who may ask, how often, what is valid, audit and monitor are therefore the service's, and the console has no way round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.types import ASGIApp

SHOWN = ("authorization", "x-api-key")
"""What a person shows for himself; no other header is passed on."""


@dataclass(frozen=True)
class Reply:
    """What came back: the body as JSON, or as text where it is none."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def fine(self) -> bool:
        """Whether this is an answer and no refusal."""
        return self.status < 400

    @property
    def sentence(self) -> str:
        """The sentence of a refusal."""
        return str(self.body.get("detail", "")) if isinstance(self.body, dict) else str(self.body)


class Ask:
    """Asks one app."""

    def __init__(self, app: ASGIApp) -> None:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://console", timeout=None)

    async def __call__(self, method: str, path: str, headers: Mapping[str, str], body: Any = None) -> Reply:
        """One request with the credentials in `headers`."""
        passed = {name: value for name in SHOWN if (value := headers.get(name))}
        response = await self._client.request(method, path, headers=passed, json=body)
        try:
            return Reply(response.status_code, response.headers, response.json())
        except ValueError:
            return Reply(response.status_code, response.headers, response.text)
