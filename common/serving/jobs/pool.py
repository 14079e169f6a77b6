"""The jobs of one kind: a bounded queue, worker processes, and results that are kept for a while."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from prometheus_client.registry import CollectorRegistry

from common.errors import DeadlineExceeded, InvalidRequest, Overloaded, RequestError
from common.serving.jobs.gauges import JobGauges
from common.serving.jobs.job import Job, JobFailed, JobGone, NoSuchJob, OnResult, TooManyJobs, no_headers, reading
from common.serving.jobs.limits import JobLimits
from common.serving.jobs.process import Crashed, Worker
from common.serving.jobs.worker import BEST, PROGRESS, REFUSED, RESULT

logger = logging.getLogger("espalier.serving")

MOST_GONE = 1_000
"""Ids of jobs that are no more, of which a client is told so."""


class Jobs:
    """Runs `work` (see `worker.py`) for clients; everything here happens on the event loop.

    `name` is for metrics and log. `lifespan` belongs into the router of the system: it tells `/metrics` of the jobs and
    ends them with the service.
    """

    def __init__(self, name: str, work: str, limits: JobLimits | None = None) -> None:
        self.name, self.limits = name, limits or JobLimits()
        self._idle = [Worker(work) for _ in range(self.limits.running)]
        self._workers = tuple(self._idle)
        self._waiting: deque[Job] = deque()
        self._running: dict[Job, Worker] = {}
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._ended: OrderedDict[str, Job] = OrderedDict()
        self._gone: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining, self._streams = False, 0
        self.gauges = JobGauges(name, self.counts)

    def submit(self, caller: str, asked: bytes, seconds: float, on_result: OnResult = no_headers) -> Job:
        """Queue a job that may run for `seconds`; raises `InvalidRequest`, `Overloaded` and `TooManyJobs`."""
        if not 0 < seconds <= self.limits.seconds:
            expected = f"above 0 and at most {self.limits.seconds:g}"
            raise InvalidRequest("no job may take so long", where="seconds", got=f"{seconds:g}", expected=expected)
        if self._draining:
            raise Overloaded("the service is stopping", fix="ask another one")
        if not self._idle and len(self._waiting) >= self.limits.waiting:
            raise self._full()
        if sum(job.caller == caller for job in (*self._waiting, *self._running)) >= self.limits.each:
            raise TooManyJobs(self.limits.each, self._wait_s())
        job = Job(caller, seconds, asked, self.limits.events, on_result)
        self._jobs[job.id] = job
        self._waiting.append(job)
        while self._idle and self._waiting:
            worker, first = self._idle.pop(), self._waiting.popleft()
            self._running[first] = worker
            task = asyncio.get_running_loop().create_task(self._work(worker, first))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        job.tell("waiting", job.state(self.place(job)).model_dump_json().encode())
        return job

    def find(self, id: str, caller: str) -> Job:
        """The caller's job of this id; raises `NoSuchJob` and `JobGone`."""
        job = self._jobs.get(id)
        if job is not None and job.caller == caller:
            return job
        owner, why = self._gone.get(id, ("", ""))
        if owner and owner == caller:
            raise JobGone(why, fix="ask again")
        raise NoSuchJob("there is no such job", fix="use the id that POST gave, with the same credential")

    def of(self, caller: str) -> list[Job]:
        """The caller's jobs, oldest first."""
        return [job for job in self._jobs.values() if job.caller == caller]

    def place(self, job: Job) -> int:
        """In the queue, from 1; 0 when it does not wait."""
        return self._waiting.index(job) + 1 if job in self._waiting else 0

    def cancel(self, job: Job, why: str = "the job was cancelled") -> None:
        """End it without a result; its id is gone."""
        self._leave(job)
        job.end("cancelled")
        self._forget(job, why)

    def finish(self, job: Job, why: str) -> None:
        """End it with the best it has; raises `JobGone` when it has not begun."""
        if not (job.started or job.over):
            self.cancel(job, "the job was ended before it had begun")
            raise JobGone("the job was ended before it had begun", fix="ask again")
        if not job.over:
            job.cut_short = why
            self._leave(job)

    async def answer(self, caller: str, asked: bytes, seconds: float) -> bytes:
        """The result of a job that nobody else hears of; cancelled when the caller of this is.

        Raises what `submit` raises and what the work refuses.
        """
        job = self.submit(caller, asked, seconds)
        with reading(job) as news:
            try:
                while not job.over:
                    await news.wait()
                    news.clear()
            finally:
                self.cancel(job)
        if job.error:
            raise job.error
        if job.result is None:
            raise Overloaded("the service is stopping", fix="ask another one")
        return job.result

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Room for one open stream; raises `Overloaded`."""
        if self._streams >= self.limits.streams:
            raise Overloaded("too many event streams are open", fix="ask for the job itself instead")
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Of the app that the routes belong to."""
        registry: CollectorRegistry = app.state.metrics.registry
        registry.register(self.gauges)
        app.on_drain.append(self.drain)
        yield
        app.on_drain.remove(self.drain)
        registry.unregister(self.gauges)
        await self.close()

    def drain(self) -> None:
        """The service stops: nothing new; what somebody listens to may go on for a while and ends with its best."""
        self._draining = True
        for job in (*self._waiting, *self._running):
            if job.readers and job not in self._waiting:
                asyncio.get_running_loop().call_later(self.limits.drain_s, self._end_with_service, job)
            else:  # who polls cannot come back for it: the listener is closed
                self.cancel(job, "the service has stopped")

    async def close(self) -> None:
        """Drain, wait, and end all processes."""
        if not self._draining:
            self.drain()
        while self._tasks:
            await asyncio.wait(self._tasks)
        for worker in self._workers:
            await worker.close()

    def _end_with_service(self, job: Job) -> None:
        if job.started:
            self.finish(job, "the service stopped")
        else:
            self.cancel(job, "the service has stopped")

    def _leave(self, job: Job) -> None:
        """Let it wait no longer, or its worker end it; within the grace by itself."""
        if job in self._waiting:
            self._waiting.remove(job)
            self.gauges.ended.labels(self.name, "cancelled").inc()
        elif worker := self._running.get(job):
            worker.stop()
            asyncio.get_running_loop().call_later(self.limits.grace_s, self._kill, job)

    def _kill(self, job: Job) -> None:
        if worker := self._running.get(job):
            worker.kill()

    async def _work(self, worker: Worker, job: Job | None) -> None:
        """Run this job, and then those that wait."""
        while job:
            try:
                await self._run(worker, job)
            except Exception:
                logger.exception("a job of %s failed", self.name)
                job.end("failed", error=JobFailed("the job failed", fix="tell the operator its id"))
            finally:
                del self._running[job]
            self._keep(job)
            job = self._waiting.popleft() if self._waiting else None
            if job:
                self._running[job] = worker
        self._idle.append(worker)

    async def _run(self, worker: Worker, job: Job) -> None:
        loop, timers = asyncio.get_running_loop(), []

        def on_frame(kind: bytes, content: bytes) -> None:
            if kind == BEST:
                job.best = content
            elif kind == PROGRESS and not job.over:
                job.note(content)

        try:
            await worker.start()
            if job.over:  # cancelled while the process started
                return
            asked = job.begin()
            self.gauges.waited.observe(time.time() - job.created)
            late = job.seconds + self.limits.grace_s
            timers = [loop.call_later(late, worker.stop), loop.call_later(late + self.limits.grace_s, worker.kill)]
            kind, content = await worker.run(asked, on_frame)
        except Crashed as error:
            self._crashed(job, str(error), timed_out=bool(timers) and timers[1].when() <= loop.time())
        else:
            if kind == RESULT:
                job.best = content
                job.end("done", cut_short=job.cut_short)
            elif kind == REFUSED:
                job.end("failed", error=_refusal(json.loads(content)))
            else:
                job.end("failed", error=JobFailed("the job failed", fix="tell the operator its id"))
        finally:
            for timer in timers:
                timer.cancel()

    def _crashed(self, job: Job, how: str, *, timed_out: bool) -> None:
        """The process is no more, by our doing or its own: the best it told is the result."""
        if job.over:
            return
        why = job.cut_short or ("the time was over" if timed_out else f"the worker {how}")
        if not job.cut_short:
            logger.error("job %s of %s: %s", job.id, self.name, why)
        if job.best is not None:
            job.end("done", cut_short=why)
        elif timed_out or job.cut_short:
            what = "the job found nothing before it was ended"
            job.end("failed", error=DeadlineExceeded(what, got=f"{job.seconds:g} s", fix="give it more time"))
        else:
            job.end("failed", error=JobFailed("the job's process ended", got=how, fix="tell the operator its id"))

    def _keep(self, job: Job) -> None:
        """Keep an ended job until its time is over or others need the room."""
        self.gauges.ended.labels(self.name, job.status).inc()
        if job.started:
            self.gauges.ran.observe(time.time() - job.started)
        if job.id not in self._jobs:
            return
        self._ended[job.id] = job
        asyncio.get_running_loop().call_later(self.limits.kept_s, self._forget, job)
        while len(self._ended) > self.limits.kept or (
            len(self._ended) > 1 and sum(one.size for one in self._ended.values()) > self.limits.kept_bytes
        ):
            self._forget(next(iter(self._ended.values())))

    def _forget(self, job: Job, why: str = "the result of this job is no longer kept") -> None:
        if self._jobs.pop(job.id, None):
            self._ended.pop(job.id, None)
            self._gone[job.id] = job.caller, why
            if len(self._gone) > MOST_GONE:
                self._gone.popitem(last=False)

    def _wait_s(self) -> int:
        """Until a job that runs ends at the latest."""
        now = time.time()
        left = [job.seconds - (now - job.started) for job in self._running if job.started]
        return max(1, math.ceil(min(left, default=1.0)))

    def _full(self) -> Overloaded:
        error = Overloaded(
            "too many jobs wait",
            got=f"{len(self._waiting)} and {len(self._running)} running",
            expected=f"at most {self.limits.waiting}",
            fix="retry later",
        )
        error.retry_after = self._wait_s()
        return error

    def counts(self) -> dict[str, int]:
        """How many jobs there are in each state, and open streams."""
        waiting, running = len(self._waiting), len(self._running)
        return {"waiting": waiting, "running": running, "kept": len(self._ended), "streams": self._streams}


def _refusal(told: dict[str, Any]) -> RequestError:
    """What the work has raised, as an error of this process."""
    status = told.pop("status")
    kinds = {422: InvalidRequest, 503: Overloaded, 504: DeadlineExceeded}
    error = kinds.get(status, RequestError)(told.pop("what"), **told)
    error.status = status  # type: ignore[misc]
    return error
