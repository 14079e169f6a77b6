"""No object of a body may name a field twice (RFC 7493, section 2.3): two readers could understand two things.

pydantic and `json` keep the last one silently. The exact search costs as much as parsing, so it is made only when a
body has more colons than the fields that were read from it.
"""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from common.serving.problems import Malformed


def check_names(body: bytes, fields: int = -1) -> None:
    """Raises `Malformed` for a name that stands twice in one object of a valid JSON `body`.

    `fields` is how many distinct ones were read, or fewer. Every name is followed by a colon, so that as many colons
    leave no room for a second.
    """
    if body.count(b":") != fields:
        json.loads(body, object_pairs_hook=_unique, parse_int=len, parse_float=len)


def fields_of(value: Any) -> int:
    """The fields that were sent for a model, and for the models in it; for models that validators do not rebuild."""
    if isinstance(value, list):
        return sum(map(fields_of, value)) if value and isinstance(value[0], BaseModel) else 0
    if not isinstance(value, BaseModel):
        return 0
    sent = value.model_fields_set
    return len(sent) + sum(fields_of(getattr(value, name)) for name in sent)


async def unique_names(connection: HTTPConnection) -> None:
    """A dependency of every route that FastAPI reads the body of."""
    media_type = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    if isinstance(connection, Request) and media_type == "application/json":
        try:
            check_names(await connection.body())
        except (ValueError, RecursionError):  # no JSON at all, or too deep: the route's own reader says so
            return


def _unique(pairs: list[tuple[str, Any]]) -> None:
    names = set()
    for name, _ in pairs:
        if name in names:
            shown = name if len(name) <= 60 else f"{name[:59]}…"
            raise Malformed("the body names a field twice", where=shown, expected="each name once", fix="send one")
        names.add(name)
