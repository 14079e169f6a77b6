"""A toy system whose work is a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from common.bundle import Bundle
from common.serving.jobs.job import JobState
from common.serving.jobs.limits import JobLimits
from common.serving.jobs.pool import Jobs
from common.serving.jobs.routes import ACCEPTED, accept, add_job_routes, answered, lifespan_of
from common.system import System

SYSTEM = System("toy.counter", "Counts.", "regression", "minimal", (), (), predictor="toy_jobs:Counter")
LIMITS = JobLimits(
    waiting=2, each=4, seconds=30, grace_s=0.3, drain_s=0.5, kept=3, heartbeat_s=0.2, events=5, streams=2
)


class Count(BaseModel):
    model_config = ConfigDict(extra="forbid")

    steps: int = 3
    pause: float = 0.0
    seconds: float = 10.0
    then: Literal["", "crash", "bug", "refuse", "hang", "exit", "nonsense", "print", "large", "stubborn"] = ""
    note: str = ""


class Counted(BaseModel):
    total: int
    stopped: bool
    pid: int


class Counter:
    request, response = Count, Counted

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        return cls()

    def predict(self, batch: Sequence[Count]) -> list[Counted]:
        return [Counted(total=row.steps, stopped=False, pid=0) for row in batch]

    @classmethod
    def routes(cls, get_predictor: Callable[[], Any]) -> APIRouter:
        counts = Jobs("toy.counts", "toy_work:count", LIMITS)
        router = APIRouter(lifespan=lifespan_of(counts))
        add_job_routes(router, counts, "/counts", Counted)

        @router.post("/counts", status_code=202, responses=ACCEPTED)
        async def post(body: Count, request: Request, response: Response) -> JobState:
            return await accept(counts, request, response, body, Counted, body.seconds)

        @router.post("/at-once", response_model=Counted)
        async def at_once(body: Count, request: Request, response: Response) -> Response:
            return Response(
                await answered(counts, request, body.model_dump_json().encode(), body.seconds),
                media_type="application/json",
            )

        return router
