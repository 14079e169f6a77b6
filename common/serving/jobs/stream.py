"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) of one job.

A reader who is slow gets what is still kept when it is ready for more, one who takes nothing for `patience_s` is left,
and one who comes back with `Last-Event-ID` goes on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from common.serving.jobs.job import Event, Job, reading
from common.serving.jobs.pool import Jobs

MEDIA_TYPE = "text/event-stream"
RETRY_MS = 2_000
MOST_DIGITS = 18


def number_of(last: str) -> int:
    """The event that `Last-Event-ID` names; 0 for what names none."""
    return int(last) if last.isascii() and last.isdigit() and len(last) <= MOST_DIGITS else 0


class EventStream(Response):
    """The events of a job after the one of the number `last`, until the job is over."""

    def __init__(self, jobs: Jobs, job: Job, last: int, headers: Mapping[str, str]) -> None:
        more = {"x-accel-buffering": "no"}  # or nginx keeps events until it has a page of them
        super().__init__(b"", 200, {**headers, **more}, media_type=MEDIA_TYPE)
        del self.headers["content-length"]
        self._jobs, self._job = jobs, job
        self._last = last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the job is over, the reader is gone, or it takes nothing; raises `Overloaded`."""
        with self._jobs.stream():
            await self._until_over_or_left(receive, send)

    async def _until_over_or_left(self, receive: Receive, send: Send) -> None:
        telling = asyncio.ensure_future(self._tell(send))
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (telling, leaving):
                task.cancel()
            await asyncio.gather(telling, leaving, return_exceptions=True)
        if not telling.cancelled() and (error := telling.exception()):
            raise error

    async def _tell(self, send: Send) -> None:
        patience, heartbeat = self._jobs.limits.patience_s, self._jobs.limits.heartbeat_s
        ended = False

        async def out(content: bytes, more: bool = True) -> None:
            async with asyncio.timeout(patience):
                await send({"type": "http.response.body", "body": content, "more_body": more})

        with reading(self._job) as news, suppress(TimeoutError):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await out(b"retry: %d\n\n" % RETRY_MS)
            while not ended:
                news.clear()
                for event in self._job.since(self._last):
                    self._last, ended = event.number, event.kind == "end"
                    await out(written(event))
                if self._job.over and not ended and not news.is_set():
                    break
                if not ended:
                    try:
                        async with asyncio.timeout(heartbeat):
                            await news.wait()
                    except TimeoutError:
                        await out(b": still there\n\n")
            await out(b"", more=False)


def written(event: Event) -> bytes:
    """As the specification has it; line ends, which only stand between the parts of JSON, begin a new line of data."""
    lines = b"".join(b"data: %b\n" % line for line in event.data.splitlines())
    return b"id: %d\nevent: %b\n%b\n" % (event.number, event.kind.encode(), lines)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
