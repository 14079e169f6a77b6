"""Bounds on a connection before there is a request that an application could judge; for `uvicorn.Config(http=...)`.

uvicorn with httptools reads headers of any size and waits for them for ever. Here a connection that has not sent a
whole head in time, or has sent too much of one, is closed. A refusal for want of capacity is written here too, before
a parser, a task or a log line (see `admission.py`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from common.errors import RequestError
from common.ids import random_id
from common.serving.admission import Admission
from common.serving.observe import GIVEN_ID
from common.serving.problems import refusal
from common.serving.security.errors import HeadersTooLarge
from common.serving.security.guard import crowded
from common.serving.security.headers import Header, lines, secured

HEAD_S = 10.0
MOST_HEAD_BYTES = 64 * 1024
"""More than the guard accepts, so that it can refuse politely; this one only bounds the memory."""
LINGER_S = 1.0
"""How long a connection outlives SIGTERM: a client may be sending on it, and must be told `Connection: close` first."""
PLAIN_POST = re.compile(rb"POST (/[^ ?]*) HTTP/1\.1\r\n")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d{1,9}) *(?=\r\n)")
NOT_PLAIN = re.compile(rb"\r\n(?:transfer-encoding|connection|expect|upgrade)[ \t]*:")
ID = re.compile(rb"\r\nx-request-id: *([^\r]*?) *(?=\r\n)", re.IGNORECASE)


def _refusal(https: bool, v2: bool) -> tuple[bytes, bytes]:
    status, headers, content = refusal(crowded(), "/v2/" if v2 else "")
    found = secured(status, headers, {"scheme": "https" if https else "http", "path": "/"})
    return b"HTTP/1.1 503 Service Unavailable\r\n" + b"".join(lines(found)), content


def _last_words(error: RequestError) -> bytes:
    status, headers, content = refusal(error)
    found = [*secured(status, headers, {"scheme": "http", "path": "/"}), (b"x-request-id", random_id().encode())]
    kept = [header for header in found if header[0] != b"connection"]
    first = b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())
    return b"".join((first, *lines(kept), b"connection: close\r\n\r\n", content))


class NotHttp(RequestError):
    """Bytes that no parser should guess the meaning of."""

    status = 400


REFUSALS = {(https, v2): _refusal(https, v2) for https in (False, True) for v2 in (False, True)}


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with a deadline and a size for each request's head, and a deadline for a body that nobody reads.

    A `POST` that finds `admission` full has to ask it.
    """

    admission: Admission | None = None
    _due: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _asked = 0.0
    _waiting, _rest = False, b""
    _in_body = _upgraded = _ending = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first head is due from now on."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """What is left over without a request under way is the start of the next head, or the rest of a body."""
        if self._waiting:  # a client that does not wait for its answer is read no further
            self._rest += data
            self.transport.pause_reading()
            return
        if self.admission and self.admission.full() and self._has_to_ask(data):
            self._unset_keepalive_if_required()
            self._waiting = True
            self.admission.ask(self, data)
            return
        self._receive(data)

    def _receive(self, data: bytes) -> None:
        body = self._in_body
        super().data_received(data)
        if self._upgraded or not (self.cycle is None or self.cycle.response_complete) or self.transport.is_closing():
            return
        if self._due is None:
            self._expect()
        if not (body or self._in_body):  # the end of a body that was answered before it was here is no head
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                expected = f"at most {MOST_HEAD_BYTES:,} bytes"
                self.transport.write(_last_words(HeadersTooLarge("the headers are too large", expected=expected)))
                self.transport.close()

    def on_headers_complete(self) -> None:
        """The head is here in time; the request learns whether any other is in flight (see `Batcher.submit`)."""
        self._in_body = True
        self._forget()
        super().on_headers_complete()
        state = self.scope["state"]
        # A task that has just ended is still among them.
        state["alone"] = len(self.tasks) <= 3 and sum(not task.done() for task in self.tasks) == 1
        state["write"] = partial(self._write, self.cycle)
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

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self._ended)
        self.tasks.add(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if self.admission:
            self.admission.leave()

    def on_message_complete(self) -> None:
        """The body too."""
        self._in_body = False
        self._forget()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """The connection is another protocol's now."""
        self._upgraded = True
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """What the parser cannot read is answered as every other refusal is."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_last_words(NotHttp("this is not HTTP/1.1 as RFC 9112 has it", fix="send it again")))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        self._forget()
        future = self.scope["state"].get("future") if self.scope else None
        if future and not future.done():
            future.set_exception(ClientDisconnect())
        super().connection_lost(exc)

    def _write(self, cycle: RequestResponseCycle, start: bytes, headers: Sequence[Header], content: bytes) -> bool:
        """A whole answer at once, as `cycle.send` would write it; False when that has to."""
        if cycle.response_started or cycle.disconnected or not cycle.keep_alive or self.flow.write_paused:
            return False
        cycle.response_started = cycle.response_complete = True
        length = b"content-length: %d\r\n\r\n" % len(content)
        self.transport.write(
            b"".join((start, *lines(self.server_state.default_headers), *lines(headers), length, content))
        )
        cycle.message_event.set()
        cycle.on_response()
        return True

    def enter(self, data: bytes) -> None:
        """See `Entrant`."""
        if self.transport.is_closing():
            return
        self._waiting, self._asked = False, self.loop.time()
        self._receive(data)
        self._go_on()

    def _go_on(self) -> None:
        if self._rest:
            rest, self._rest = self._rest, b""
            self.transport.resume_reading()
            self.data_received(rest)

    def refuse(self, data: bytes) -> str | None:
        """See `Entrant`."""
        found = PLAIN_POST.match(data)
        end = data.find(b"\r\n\r\n") + 2
        head = data[:end].lower()
        length = LENGTH.findall(head)
        if not found or len(length) != 1 or len(data) != end + 2 + int(length[0]) or NOT_PLAIN.search(head):
            return None
        given = ID.search(data, 0, end)
        request_id = given[1] if given and GIVEN_ID.fullmatch(given[1]) else random_id().encode()
        start, content = REFUSALS[self.scheme == "https", found[1].startswith(b"/v2/")]
        own = (*self.server_state.default_headers, (b"x-request-id", request_id))
        if not self.transport.is_closing():
            self.transport.write(b"".join((start, *lines(own), b"\r\n", content)))
            self._waiting = False
            if self._due is None:
                self._expect()
            self._asked = self.loop.time()
            self._go_on()
        return found[1].decode("latin-1")

    def _has_to_ask(self, data: bytes) -> bool:
        between = (self.cycle is None or self.cycle.response_complete) and not (self._in_body or self._head_bytes)
        return between and not (self._ending or self._upgraded) and data.startswith(b"POST ")

    def _close_if_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            self.cycle.keep_alive = False

    def _expect(self) -> None:
        self._head_bytes = 0
        self._asked = self.loop.time()
        self._due = self.loop.call_later(HEAD_S, self._overdue)

    def _overdue(self) -> None:
        rest = self._asked + HEAD_S - self.loop.time()
        if rest > 0.01:  # refused meanwhile, which leaves timers alone
            self._due = self.loop.call_later(rest, self._overdue)
        else:
            self.transport.close()

    def _forget(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
