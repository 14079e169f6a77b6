"""Reading request bodies: never more than the limit, announced or chunked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from common.errors import Overloaded, RequestTooLarge


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


class Room:
    """Lets in bodies over the usual limit and up to `largest`, at most `together` bytes at once; for the event loop.

    256 requests in flight of 24 MiB each would take 6 GB. Such a body must announce its length.
    """

    def __init__(self, largest: int, together: int) -> None:
        self.largest, self.together, self.taken = largest, together, 0

    @contextmanager
    def hold(self, scope: Scope, receive: Receive, usual: int) -> Iterator[Receive]:
        """`receive` for a body of at most `usual` bytes, or of as many as it announces while their room is held.

        Raises `Overloaded` when there is no room.
        """
        size = _announced(scope)
        if not usual < size <= self.largest:
            yield limited(scope, receive, max(usual, self.largest) if size > usual else usual)
            return
        if self.taken + size > self.together:
            got, expected = f"one more of {size:,} bytes", f"at most {self.together:,} bytes together"
            raise Overloaded("too many large bodies at once", got=got, expected=expected, fix="retry later")
        self.taken += size
        try:
            yield receive
        finally:
            self.taken -= size


def _announced(scope: Scope) -> int:
    return int(next((value for key, value in scope["headers"] if key == b"content-length"), b"0"))


def _check_announced(scope: Scope, most_bytes: int) -> None:
    if (size := _announced(scope)) > most_bytes:
        raise _too_large(f"{size:,} bytes", most_bytes)


def _too_large(got: str, most_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(
        "the body is too large", got=got, expected=f"at most {most_bytes:,} bytes", fix="send fewer rows per request"
    )
