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
            _check_announced(scope, most_bytes)
            size = 0
        message = await receive()
        size += len(message.get("body", b""))
        if size > most_bytes:
            raise _too_large(f"more than {most_bytes:,} bytes", most_bytes)
        return message

    return counted


async def read_all(scope: Scope, receive: Receive, most_bytes: int) -> bytes:
    """The whole body; raises `RequestTooLarge` as `limited` does, `ClientDisconnect` when the client leaves before."""
    _check_announced(scope, most_bytes)
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > most_bytes:
            raise _too_large(f"more than {most_bytes:,} bytes", most_bytes)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _check_announced(scope: Scope, most_bytes: int) -> None:
    announced = next((value for key, value in scope["headers"] if key == b"content-length"), b"0")
    if int(announced) > most_bytes:
        raise _too_large(f"{int(announced):,} bytes", most_bytes)


def _too_large(got: str, most_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(
        "the body is too large", got=got, expected=f"at most {most_bytes:,} bytes", fix="send fewer rows per request"
    )
