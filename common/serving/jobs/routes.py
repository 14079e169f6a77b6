"""The routes that all jobs have, and how a route of a system's own makes one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from common.serving.jobs.job import Job, JobNotReady, JobState
from common.serving.jobs.pool import Jobs
from common.serving.jobs.stream import MEDIA_TYPE, EventStream, number_of

Id = Annotated[str, Path(description="as POST gave it")]
STATE: dict[str, Any] = {
    "id": "pX2v9Zq0aT3kLw8RbnC5Yg",
    "status": "running",
    "place": 0,
    "seconds": 30.0,
    "created": "2026-01-05T08:00:00Z",
    "started": "2026-01-05T08:00:00.2Z",
    "ended": None,
    "progress": {"seconds": 1.5},
    "cut_short": "",
    "error": "",
}
STREAM = 'id: 1\nevent: running\ndata: {"id": "pX2v9Zq0aT3kLw8RbnC5Yg", "status": "running"}\n\n'
REFUSALS: dict[int | str, dict[str, Any]] = {
    404: {"description": "No such job, or another credential's"},
    410: {"description": "It was cancelled, or is no longer kept"},
}
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Accepted; Location has the address of the job",
        "content": {"application/json": {"example": {**STATE, "status": "waiting", "place": 1, "started": None}}},
    },
    429: {"description": "Too many jobs of this credential wait; Retry-After says when to come back"},
    503: {"description": "Too many jobs wait; Retry-After says when to come back"},
}
"""`responses` of a route that makes a job."""


async def accept(
    jobs: Jobs,
    request: Request,
    response: Response,
    body: BaseModel,
    result: type[BaseModel],
    seconds: float,
    *,
    asked: bytes | None = None,
) -> JobState:
    """Make a job of `body`, and put its result, of type `result`, on record once it is there.

    The work gets `asked`, or the body as it was sent. `Location` is the address of the request with the job's id.
    Raises what `Jobs.submit` raises, and `AuditUnavailable`.
    """
    content, decided = await request.body(), request.state.decided
    decided.admit()

    def on_result(found: bytes) -> Mapping[str, str]:
        answer = result.model_validate_json(found)
        decided.note([body], [answer], (b"[%b]" % content, b"[%b]" % found))
        decision = response.headers.get("x-decision-id")
        return {"x-decision-id": decision} if decision else {}

    job = jobs.submit(request.state.caller, asked or content, seconds, on_result)
    response.status_code = 202
    response.headers["location"] = f"{request.url.path}/{job.id}"
    return job.state(jobs.place(job))


async def answered(jobs: Jobs, request: Request, asked: bytes, seconds: float) -> bytes:
    """The result of a short job within the request, which is cancelled when the client leaves.

    Raises what `Jobs.answer` raises, and `ClientDisconnect`.
    """
    loop = asyncio.get_running_loop()
    left = request.scope["state"]["future"] = loop.create_future()  # the connection looks here when it is lost
    work = asyncio.ensure_future(jobs.answer(request.state.caller, asked, seconds))
    try:
        await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not work.done():
            work.cancel()
    if left.done():
        left.exception()
        raise ClientDisconnect
    left.cancel()
    return work.result()


def result_of(jobs: Jobs, request: Request, id: str) -> bytes:
    """The result of the caller's job; raises its error, `JobNotReady`, `NoSuchJob` and `JobGone`."""
    job = jobs.find(id, request.state.caller)
    if job.error:
        raise job.error
    if job.result is None:
        raise JobNotReady(f"the job is {job.status}", fix="ask again later, or read its events")
    return job.result


def lifespan_of(*jobs: Jobs) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Of a router that has these jobs."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for some in jobs:
                await stack.enter_async_context(some.lifespan(app))
            yield

    return lifespan


def add_job_routes(router: APIRouter, jobs: Jobs, path: str, result: type[BaseModel]) -> None:
    """List, state or result, events, and end of the jobs that `POST path` makes.

    The router's lifespan must be that of the jobs, `APIRouter(lifespan=lifespan_of(jobs, ...))`.
    """

    def found(request: Request, id: str) -> Job:
        return jobs.find(id, request.state.caller)

    @router.get(path, summary="Your jobs, oldest first.", responses={200: _json([STATE])})
    async def every(request: Request) -> list[JobState]:
        return [job.state(jobs.place(job)) for job in jobs.of(request.state.caller)]

    @router.get(
        f"{path}/{{id}}",
        summary="The result, or 202 with the state of a job that is not yet over.",
        response_model=result,
        responses={
            202: {"description": "Not yet; Retry-After says when to look again", "model": JobState, **_json(STATE)},
            **REFUSALS,
            504: {"description": "Nothing was found in time"},
        },
    )
    async def one(id: Id, request: Request, response: Response) -> Response:
        job, headers = found(request, id), dict(response.headers)
        if job.over:
            content = result_of(jobs, request, id)
            return Response(content, 200, {**headers, **job.headers}, media_type="application/json")
        content = job.state(jobs.place(job)).model_dump_json().encode()
        return Response(content, 202, {**headers, "retry-after": "1"}, media_type="application/json")

    @router.get(
        f"{path}/{{id}}/events",
        summary="What happens to it, as server-sent events: waiting, running, progress, end (with the result).",
        response_class=Response,
        responses={
            200: {"description": "Until the job is over", "content": {MEDIA_TYPE: {"example": STREAM}}},
            204: {"description": "All has been told: no reason to come back"},
            **REFUSALS,
        },
    )
    async def events(
        id: Id,
        request: Request,
        response: Response,
        last_event_id: Annotated[str, Header(description="go on after this one")] = "",
    ) -> Response:
        job, headers = found(request, id), dict(response.headers)
        last = number_of(last_event_id)
        if job.over and not any(job.since(last)):
            return Response(status_code=204, headers=headers)
        return EventStream(jobs, job, last, headers)

    @router.delete(
        f"{path}/{{id}}",
        summary="End it: without a result or, with `keep`, with the best it has found.",
        status_code=204,
        response_class=Response,
        responses={202: {"description": "It ends, and keeps its best", "model": JobState, **_json(STATE)}, **REFUSALS},
    )
    async def end(
        id: Id,
        request: Request,
        response: Response,
        keep: Annotated[bool, Query(description="keep the best that it has found until now")] = False,
    ) -> Response:
        job, headers = found(request, id), dict(response.headers)
        if not keep:
            jobs.cancel(job)
            return Response(status_code=204, headers=headers)
        jobs.finish(job, "it was ended by the client")
        return Response(job.state().model_dump_json(), 202, headers, media_type="application/json")


def _json(example: Any) -> dict[str, Any]:
    return {"content": {"application/json": {"example": example}}}
