"""What OpenAPI says about the guard, so that the "Authorize" button of `/docs` works and clients know the refusals."""

from __future__ import annotations

from typing import Any

REFUSALS = {
    401: "No credential, or one that is not accepted",
    403: "The credential lacks the scope",
    408: "The body came too slowly",
    429: "Too many requests with this credential",
    431: "Too many or too long headers",
}

SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key (`esp_...`) or an access token (JWT)"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same, in another header"},
}


def add_security(document: dict[str, Any]) -> None:
    """Put the two schemes into an OpenAPI document, either of them for every route."""
    document.setdefault("components", {})["securitySchemes"] = SCHEMES
    document["security"] = [{name: []} for name in SCHEMES]
