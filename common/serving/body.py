"""Reading request bodies: never more than the limit, announced or chunked."""

from __future__ import annotations

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from common.errors import RequestTooLarge


def limited(scope: Scope, receive: Receive, most_bytes: int) -> Receive:
    """`receive`, raising `RequestTooLarge` before it reads a body announced as too large, or once it has become so."""
    size = -1

    async def counted() -> Message:
        nonlocal size
        if size < 0:
            announced = next((value for key, value in scope["headers"] if key == b"content-length"), b"0")
            if int(announced) > most_bytes:
                raise _too_large(f"{int(announced):,} bytes", most_bytes)
            size = 0
        message = await receive()
        size += len(message.get("body", b""))
        if size > most_bytes:
            raise _too_large(f"more than {most_bytes:,} bytes", most_bytes)
        return message

    return counted


async def read_all(receive: Receive) -> bytes:
    """The whole body; raises `ClientDisconnect` when the client leaves before its end."""
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


def _too_large(got: str, most_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(
        "the body is too large", got=got, expected=f"at most {most_bytes:,} bytes", fix="send fewer rows per request"
    )
