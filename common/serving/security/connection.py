"""Bounds on a connection before there is a request that an application could judge; for `uvicorn.Config(http=...)`.

uvicorn with httptools reads headers of any size and waits for them for ever. Here a connection that has not sent a
whole head in time, or has sent too much of one, is closed.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 10.0
MOST_HEAD_BYTES = 64 * 1024
"""More than the guard accepts, so that it can refuse politely; this one only bounds the memory."""
LINGER_S = 1.0
"""How long a connection outlives SIGTERM: a client may be sending on it, and must be told `Connection: close` first."""
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with a deadline and a size for each request's head, and a deadline for a body that nobody reads."""

    _due: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_body = _upgraded = _ending = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first head is due from now on."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """What is left over without a request under way is the start of the next head, or the rest of a body."""
        super().data_received(data)
        if self._upgraded or not (self.cycle is None or self.cycle.response_complete) or self.transport.is_closing():
            return
        if self._due is None:
            self._expect()
        if not self._in_body:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self.transport.write(TOO_LARGE)
                self.transport.close()

    def on_headers_complete(self) -> None:
        """The head is here in time; the request learns whether any other is in flight (see `Batcher.submit`)."""
        self._in_body = True
        self._forget()
        super().on_headers_complete()
        self.scope["state"]["alone"] = len(self.tasks) <= 1
        if self._ending:
            self.cycle.keep_alive = False  # the answer says `Connection: close`

    def shutdown(self) -> None:
        """End with the next answer, or after a while without a request; uvicorn would cut idle connections off."""
        if self._ending:
            return
        self._ending = True
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False
        self.loop.call_later(LINGER_S, self._close_if_idle)

    def on_message_complete(self) -> None:
        """The body too."""
        self._in_body = False
        self._forget()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """The connection is another protocol's now."""
        self._upgraded = True
        super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        self._forget()
        super().connection_lost(exc)

    def _close_if_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            self.cycle.keep_alive = False

    def _expect(self) -> None:
        self._head_bytes = 0
        self._due = self.loop.call_later(HEAD_S, self.transport.close)

    def _forget(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
