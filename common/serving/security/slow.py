"""A deadline for bodies, against clients that send a byte now and then (slowloris) and hold a request open.

As Apache's mod_reqtimeout: so long to begin with, and longer for who really sends. Slow headers never reach an
application; `connection.py` is for them.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Generator
from typing import Any

from starlette.types import Message, Receive

from common.serving.security.errors import SlowBody

PATIENCE_S = 10.0
LEAST_BYTES_PER_S = 16 * 1024


def timely(receive: Receive, patience_s: float = PATIENCE_S, least_rate: float = LEAST_BYTES_PER_S) -> Receive:
    """`receive`, raising `SlowBody` when the body is late. Once it is complete, waiting is for the client to leave."""
    complete, received, started = False, 0, 0.0

    async def received_in_time() -> Message:
        nonlocal complete, received, started
        if complete:
            return await receive()
        step = receive()
        try:
            waiting = step.send(None)  # type: ignore[attr-defined]
        except StopIteration as arrived:  # nearly always: the body came with the head, and a timer costs 4 µs
            message: Message = arrived.value
        else:
            loop = asyncio.get_running_loop()
            started = started or loop.time()
            try:
                async with asyncio.timeout_at(started + patience_s + received / least_rate):
                    message = await _go_on(step, waiting)
            except TimeoutError:
                raise SlowBody(
                    "the body came too slowly",
                    got=f"{received:,} bytes",
                    expected=f"all of it within {patience_s:g} s and one more per {least_rate:,.0f} bytes",
                ) from None
        received += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        return message

    return received_in_time


@types.coroutine
def _go_on(step: Any, waiting: Any) -> Generator[Any, Any, Any]:
    """Await a coroutine that has already been started and waits for a future, as `await` itself does."""
    while True:
        try:
            sent = yield waiting
        except BaseException as error:
            advance, given = step.throw, error
        else:
            advance, given = step.send, sent
        try:
            waiting = advance(given)
        except StopIteration as done:
            return done.value
