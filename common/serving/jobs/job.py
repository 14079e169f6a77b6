"""One job: where it stands, what it has told, and what became of it."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from common.errors import RequestError

Status = Literal["waiting", "running", "done", "failed", "cancelled"]
ENDED = ("done", "failed", "cancelled")
OnResult = Callable[[bytes], Mapping[str, str]]
"""Looks at a result before anybody gets it, and gives the headers that go with it."""

logger = logging.getLogger("espalier.serving")


def no_headers(result: bytes) -> Mapping[str, str]:
    """Of a result that nobody looks at."""
    return {}


class NoSuchJob(RequestError):
    """Unknown, or another caller's: one text for both, so that it tells of no other."""

    status = 404


class JobGone(RequestError):
    """It was cancelled, or its result is no longer kept."""

    status = 410


class JobNotReady(RequestError):
    """There is nothing to show of it yet."""

    status = 409


class TooManyJobs(RequestError):
    """The caller has as many waiting and running as it may."""

    status = 429

    def __init__(self, most: int, wait_s: int) -> None:
        fix = f"retry after {wait_s} s, or end one"
        super().__init__("too many jobs with this credential", expected=f"at most {most}", fix=fix)
        self.headers = {"Retry-After": str(wait_s)}


class JobFailed(RequestError):
    """The work failed; the log says how."""

    status = 500


class JobState(BaseModel):
    """Where a job stands."""

    id: str = Field(description="only the credential that made the job can use it")
    status: Status
    place: int = Field(0, description="in the queue, from 1; 0 when it no longer waits")
    seconds: float = Field(description="time it may take, once it runs")
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    progress: dict[str, Any] | None = Field(None, description="what was told last")
    cut_short: str = Field("", description="why the result is only the best that was found until then")
    error: str = Field("", description="why there is no result")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a reader of the stream is told; numbers count from 1."""

    number: int
    kind: str
    data: bytes


@dataclass(eq=False)
class Job:
    """On the event loop only; `asked` and results are JSON."""

    caller: str
    seconds: float
    asked: bytes
    most_events: int
    on_result: OnResult = no_headers
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    status: Status = "waiting"
    created: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    progress: dict[str, Any] | None = None
    best: bytes | None = None
    cut_short: str = ""
    error: RequestError | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    readers: set[asyncio.Event] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=self.most_events)
        self._number = 0

    @property
    def over(self) -> bool:
        """Whether nothing more will be told."""
        return self.status in ENDED

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return len(self.asked) + len(self.best or b"") + sum(len(event.data) for event in self._events)

    @property
    def result(self) -> bytes | None:
        """Of a job that is done."""
        return self.best if self.status == "done" else None

    def state(self, place: int = 0) -> JobState:
        """For a client."""
        return JobState(
            id=self.id,
            status=self.status,
            place=place,
            seconds=self.seconds,
            created=_utc(self.created),
            started=_utc(self.started) if self.started else None,
            ended=_utc(self.ended) if self.ended else None,
            progress=self.progress,
            cut_short=self.cut_short,
            error=str(self.error) if self.error else "",
        )

    def begin(self) -> bytes:
        """It runs from now on; returns what it was asked, which is kept no longer."""
        asked, self.asked = self.asked, b""
        self.status, self.started = "running", time.time()
        self.tell("running", self._state_json())
        return asked

    def note(self, content: bytes) -> None:
        """Progress that the work has told."""
        self.progress = json.loads(content)
        self.tell("progress", content)

    def end(self, status: Status, *, error: RequestError | None = None, cut_short: str = "") -> None:
        """It is over; `best` is its result when `status` is done."""
        if self.over:
            return
        self.status, self.ended, self.asked = status, time.time(), b""
        self.error, self.cut_short = error, cut_short
        if status == "done" and self.best is not None:
            try:
                self.headers = self.on_result(self.best)
            except Exception:  # of a result that is not what was promised
                logger.exception("the result of a job is refused")
                self.status, self.error = "failed", JobFailed("the work gave no such result as it should")
        if self.status != "done":
            self.best = None
        self.on_result = no_headers  # it holds the request
        self.tell("end", b"")

    def tell(self, kind: str, data: bytes) -> None:
        """Put an event before the readers."""
        self._number += 1
        self._events.append(Event(self._number, kind, data))
        for reader in self.readers:
            reader.set()

    def since(self, number: int) -> Iterator[Event]:
        """Events after that number which are still there; the last one of all carries state and result."""
        number = number if number <= self._number else 0
        for event in tuple(self._events):
            if event.number > number:
                end = event.kind == "end"
                yield Event(event.number, "end", self._outcome()) if end else event

    def _outcome(self) -> bytes:
        return b'{"state": %b, "result": %b}' % (self._state_json(), self.result or b"null")

    def _state_json(self) -> bytes:
        return self.state().model_dump_json().encode()


@contextmanager
def reading(job: Job) -> Iterator[asyncio.Event]:
    """An event that is set whenever the job has news."""
    news = asyncio.Event()
    job.readers.add(news)
    try:
        yield news
    finally:
        job.readers.discard(news)


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
