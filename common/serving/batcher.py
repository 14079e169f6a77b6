"""The micro-batcher: one inference thread per model that never waits for company.

An idle model gets a request at once; what arrives while it is busy forms the next batch (as in Clipper,
Crankshaw et al., NSDI 2017, without its timer). The event loop and the thread share one `SimpleQueue`
(a C lock, no Condition) and counters that only one side writes, so a hand-off costs one wake-up each way.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any

from threadpoolctl import threadpool_limits

from common.errors import DeadlineExceeded, EspalierError, Overloaded
from common.serving.limits import Limits

QUICK_S = 0.001

Predict = Callable[[Sequence[Any]], list[Any]]


@dataclass(slots=True, eq=False)
class _Job:
    rows: Sequence[Any]
    future: asyncio.Future[list[Any]]
    expires: float

    def alive(self) -> bool:
        """False once answered, cancelled or past its deadline: such a job never reaches the model."""
        return not self.future.done() and time.monotonic() < self.expires


class Batcher:
    """Runs `predict` for many requests; see the module for how.

    With `inline` True, a single row that finds the model idle is predicted on the event loop itself, which
    saves both thread hand-offs. Only for predictors that need well under a millisecond per row and gain
    nothing from batching; `predict` must then be safe to call from two threads.
    """

    def __init__(
        self,
        predict: Predict,
        limits: Limits | None = None,
        *,
        name: str = "model",
        inline: bool | None = None,
        warm: Sequence[Any] = (),
        on_batch: Callable[[int], None] = lambda rows: None,
    ) -> None:
        self._predict, self._limits, self._inline = predict, limits or Limits(), inline
        self._warm, self._on_batch = warm, on_batch
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._held: _Job | None = None
        self._due: deque[_Job] = deque()  # in the order of their deadlines; one timer for all, as each would cost 2 µs
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing = False
        self._row_s = inf  # of the latest batch of one row
        self._submitted = 0  # rows, written by the event loop only
        self._taken = 0  # rows out of the queue, written by the thread only
        self._finished = 0  # rows answered or skipped, written by the thread only
        self._thread = threading.Thread(target=self._run, name=f"inference-{name}", daemon=True)
        self._thread.start()

    @property
    def queued_rows(self) -> int:
        """Rows waiting for the model, without those it is working on."""
        return self._submitted - self._taken

    def submit(self, rows: Sequence[Any], alone: bool = False) -> asyncio.Future[list[Any]]:
        """Ask for the answers to `rows` (one or more), in order; call it from the event loop.

        `alone` says that no other request is in flight: a model that takes less than `QUICK_S` for a row is then asked
        inline too, as there is nothing to batch and nobody to keep waiting.

        Cancel the future to give up. Raises `Overloaded` at once when the queue is full or the batcher is
        closing; the future raises `DeadlineExceeded`, or what `predict` raised for these rows.
        """
        if self._closing:
            raise Overloaded("the service is shutting down", fix="send the request again")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Any]] = loop.create_future()
        quick = self._inline or (alone and self._inline is None and self._row_s < QUICK_S)
        if quick and len(rows) == 1 and self._submitted == self._finished:
            started = time.perf_counter()
            _settle(future, self._answer([rows])[0])
            self._row_s = time.perf_counter() - started
            return future
        waiting, limits = self.queued_rows, self._limits
        # A request larger than the whole queue is still served, when nothing else waits.
        if waiting and waiting + len(rows) > limits.queued_rows:
            raise Overloaded(
                "too many rows are waiting",
                got=f"{waiting} waiting and {len(rows)} more",
                expected=f"at most {limits.queued_rows}",
                fix=f"retry after {Overloaded.retry_after} s",
            )
        job = _Job(rows, future, time.monotonic() + limits.deadline_s)
        self._due.append(job)
        if self._sweeper is None:
            self._sweeper = loop.call_later(limits.deadline_s, self._expire, loop)
        self._submitted += len(rows)
        self._queue.put(job)
        return future

    def close(self) -> None:
        """Refuse new requests, answer the queued ones and end the thread; blocks, so not on the event loop."""
        self._closing = True
        self._queue.put(None)
        self._thread.join()

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        now, deadline_s = time.monotonic(), self._limits.deadline_s
        while self._due and (self._due[0].expires <= now or self._due[0].future.done()):
            late = DeadlineExceeded(
                "no answer in time", expected=f"one within {deadline_s:g} s", fix="retry later or send fewer rows"
            )
            _settle(self._due.popleft().future, late)
        self._sweeper = loop.call_later(self._due[0].expires - now, self._expire, loop) if self._due else None

    def _run(self) -> None:
        with threadpool_limits(self._limits.threads):  # OpenMP's count belongs to the calling thread
            with suppress(Exception):  # the self-test has judged these rows already; a dead thread would judge nothing
                if self._warm:
                    self._predict(self._warm)
            while batch := self._next_batch():
                started = time.perf_counter()
                outcomes = self._answer([job.rows for job in batch])
                if len(batch) == len(batch[0].rows) == 1:
                    self._row_s = time.perf_counter() - started
                self._finished = self._taken
                batch[0].future.get_loop().call_soon_threadsafe(self._deliver, batch, outcomes)

    def _deliver(self, batch: list[_Job], outcomes: list[list[Any] | Exception]) -> None:
        for job, outcome in zip(batch, outcomes, strict=True):
            _settle(job.future, outcome)
        while self._due and self._due[0].future.done():
            self._due.popleft()

    def _next_batch(self) -> list[_Job]:
        """Wait for one job, then take what else is queued up to the row cap; empty when closed."""
        batch: list[_Job] = []
        rows = 0
        while True:
            try:
                job = self._held or self._queue.get(block=not batch)
            except queue.Empty:
                return batch
            self._held = None
            if job is None:
                if batch:
                    self._queue.put(None)
                return batch
            if not job.alive():
                self._taken += len(job.rows)
                if not batch:
                    self._finished = self._taken
                continue
            if batch and rows + len(job.rows) > self._limits.model_rows:
                self._held = job
                return batch
            batch.append(job)
            rows += len(job.rows)
            self._taken += len(job.rows)

    def _answer(self, requests: list[Sequence[Any]]) -> list[list[Any] | Exception]:
        """Answers per request; when all together fail, each alone, so that only the bad one fails."""
        try:
            answers = self._predict_rows([row for rows in requests for row in rows])
        except Exception as error:
            if len(requests) == 1:
                return [self._blame(requests[0], error)]
            return [self._answer([rows])[0] for rows in requests]
        found = iter(answers)
        return [[next(found) for _ in rows] for rows in requests]

    def _predict_rows(self, rows: Sequence[Any]) -> list[Any]:
        answers: list[Any] = []
        for start in range(0, len(rows), self._limits.model_rows):
            part = rows[start : start + self._limits.model_rows]
            self._on_batch(len(part))
            answers += self._predict(part)
        if len(answers) != len(rows):
            raise RuntimeError(f"the predictor gave {len(answers)} answers for {len(rows)} rows")
        return answers

    def _blame(self, rows: Sequence[Any], error: Exception) -> Exception:
        """The error of a request, naming its first bad row (found by bisection) when it has several."""
        low, high = 0, len(rows)
        while high - low > 1:
            middle = (low + high) // 2
            try:
                self._predict_rows(rows[low:middle])
                low = middle
            except Exception as narrower:
                high, error = middle, narrower
        if len(rows) > 1:
            if isinstance(error, EspalierError):
                error.where = f"rows[{low}].{error.where}".rstrip(".")
                error.args = (error.sentence(),)
            else:
                error.add_note(f"in rows[{low}] of the request")
        return error


def _settle(future: asyncio.Future[list[Any]], outcome: list[Any] | Exception) -> None:
    if future.done():  # cancelled or expired meanwhile
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
