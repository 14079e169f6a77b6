"""What OpenAPI says about the guard, so that the "Authorize" button of `/docs` works and clients know the refusals."""

from __future__ import annotations

from typing import Any

from common.serving.security.guard import Gate
from common.serving.security.policy import ANY, OPEN, told

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


PROBLEM = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}}


def add_security(document: dict[str, Any], gate: Gate) -> None:
    """Put the two schemes into an OpenAPI document, either of them for every route that is not open, with the scopes
    that it needs: of the alternatives of an operation one is enough."""
    if gate.authenticate is None:
        return
    document.setdefault("components", {})["securitySchemes"] = SCHEMES
    document["security"] = [{name: []} for name in SCHEMES]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            needed = gate.policy.needed(method.upper(), path)
            if needed is OPEN:
                operation["security"] = []
            elif needed is not ANY:
                operation["security"] = [{name: [scope]} for scope in told(needed) for name in SCHEMES]


def add_refusals(document: dict[str, Any]) -> None:
    """Every refusal of every route is a problem; those that a route describes itself stay as they are."""
    for operations in document["paths"].values():
        for operation in operations.values():
            responses = operation["responses"]
            if "422" in responses and "application/json" in responses["422"].get("content", {}):
                del responses["422"]  # FastAPI's own, which is never sent
            responses.setdefault("4XX", {"description": "Refused", **PROBLEM})
            responses.setdefault("5XX", {"description": "Cannot be answered now", **PROBLEM})
    for unused in ("HTTPValidationError", "ValidationError"):
        document.get("components", {}).get("schemas", {}).pop(unused, None)
