"""The routes beside `predict`: searches as jobs with their charts and calendars; checking, explaining, repairing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from common.config import Strict
from common.errors import DataError, InvalidRequest, SystemUnavailable
from common.serving.jobs.job import JobNotReady, JobState
from common.serving.jobs.limits import JobLimits
from common.serving.jobs.pool import Jobs
from common.serving.jobs.routes import ACCEPTED, accept, add_job_routes, answered, lifespan_of, result_of
from manufacturing.production_scheduling import gantt
from manufacturing.production_scheduling.answers import (
    Checked,
    CheckRequest,
    Compared,
    Explained,
    ExplainRequest,
    Repaired,
    RepairRequest,
    Solved,
    SolveRequest,
    WhatIfRequest,
)
from manufacturing.production_scheduling.checker import check
from manufacturing.production_scheduling.examples import PLANT, example
from manufacturing.production_scheduling.explain import critical_path, links
from manufacturing.production_scheduling.export import Of, to_csv, to_ical
from manufacturing.production_scheduling.picture import picture as drawn
from manufacturing.production_scheduling.problem import Problem, Schedule
from manufacturing.production_scheduling.readers import Format, parse

if TYPE_CHECKING:
    from manufacturing.production_scheduling.serve import SchedulingPredictor

WORK = "manufacturing.production_scheduling.work:work"
LONG = JobLimits(running=1, waiting=16, seconds=600, grace_s=5)
SHORT = JobLimits(running=1, waiting=8, seconds=60, grace_s=5)
"""Answers within the request; in a process of its own, so that a repair does not wait for a long search."""
TEXT = "4 3\n0 5 1 3 2 4\n1 2 0 6 2 3\n2 4 1 5 0 2\n0 3 2 6 1 4\n"

Id = Annotated[str, Path(description="as POST gave it")]
Origin = Annotated[
    datetime | None,
    Query(description="the moment of time 0, ISO 8601 with a zone", examples=["2026-01-05T06:00:00+01:00"]),
]
Unit = Annotated[int, Query(ge=1, le=604_800, description="seconds of one time unit")]


class Text(Strict):
    """An instance file as text."""

    text: str = Field(min_length=1, max_length=8 * 1024**2)
    format: Format | None = Field(None, description="null: guessed")


def planning_routes(predictor: Callable[[], SchedulingPredictor]) -> APIRouter:
    """The router of the system; each service has job processes of its own."""
    plans, desk = (
        Jobs(f"production_scheduling.{name}", WORK, some) for name, some in (("plans", LONG), ("desk", SHORT))
    )
    router = APIRouter(lifespan=lifespan_of(plans, desk))

    def order(kind: str, content: bytes) -> bytes:
        """An `Order` around the body as it was sent: to write 10,000 operations again takes 0.1 s."""
        current = predictor()
        who: dict[str, Any] = {"kind": kind, "bundle": current.path and str(current.path)}
        who |= {"model": current.version, "simulated": current.simulated}
        return b'%b, "ask": %b}' % (json.dumps(who).encode()[:-1], content)

    @router.post(
        "/plans",
        status_code=202,
        summary="Search for a plan: a job, whose events tell of better plans and bounds.",
        responses=ACCEPTED,
        openapi_extra=_example({"problem": PLANT, "seconds": 5}),
    )
    async def search(body: SolveRequest, request: Request, response: Response) -> JobState:
        asked = order("solve", await request.body())
        return await accept(plans, request, response, body, Solved, body.seconds, asked=asked)

    add_job_routes(router, plans, "/plans", Solved)
    _add_views(router, plans)

    @router.post("/check", summary="Is this plan feasible, and what is it worth?", openapi_extra=_example(_with_plan()))
    async def check_plan(body: CheckRequest) -> Checked:
        found = await asyncio.to_thread(check, body.problem, body.schedule)
        violations = [f"{text[0].upper()}{text[1:]}." for text in found.violations]
        return Checked(feasible=found.feasible, violations=violations, figures=found.figures, objective=found.objective)

    async def at_desk(
        kind: str, body: Any, request: Request, response: Response, answer: type[BaseModel], seconds: float
    ) -> Response:
        content, decided = await request.body(), request.state.decided
        decided.admit()
        found = await answered(desk, request, order(kind, content), seconds)
        decided.note([body], [answer.model_validate_json(found)], (b"[%b]" % content, b"[%b]" % found))
        return Response(found, media_type="application/json", headers=dict(response.headers))

    @router.post(
        "/explain",
        summary="Critical path, bottleneck and delays of a plan or, without one, why there is none.",
        response_model=Explained,
        openapi_extra=_example(_with_plan()),
    )
    async def explain(body: ExplainRequest, request: Request, response: Response) -> Response:
        return await at_desk("explain", body, request, response, Explained, body.seconds)

    @router.post(
        "/repair",
        summary="A new plan after a breakdown, a rush job or late material, with few changes.",
        response_model=Repaired,
        openapi_extra=_example(
            {
                **_with_plan(),
                "events": [{"kind": "breakdown", "machine": "mill A", "start": 60, "end": 150}],
                "now": 60,
                "seconds": 1,
            }
        ),
    )
    async def mend(body: RepairRequest, request: Request, response: Response) -> Response:
        return await at_desk("repair", body, request, response, Repaired, body.seconds)

    @router.post(
        "/what-if",
        summary="Plan two problems with the same limit and compare them.",
        response_model=Compared,
        openapi_extra=_example({"problem": PLANT, "changed": _faster(), "seconds": 1}),
    )
    async def what_if(body: WhatIfRequest, request: Request, response: Response) -> Response:
        return await at_desk("what-if", body, request, response, Compared, 2 * body.seconds)

    @router.post("/read", summary="An instance file as a problem in JSON.", openapi_extra=_example({"text": TEXT}))
    async def read(body: Text) -> Problem:
        try:
            return await asyncio.to_thread(parse, body.text, body.format, without_last_zeros=True)
        except DataError as error:
            raise InvalidRequest(error.what, where="text") from None

    return router


def _add_views(router: APIRouter, plans: Jobs) -> None:
    """What can be seen and taken along of a plan."""

    def plan_of(request: Request, id: str) -> tuple[Problem, Schedule, Solved]:
        found = Solved.model_validate_json(result_of(plans, request, id))
        if found.problem is None or found.schedule is None:
            raise JobNotReady("there is no plan to show", got=found.status, fix="see the job itself")
        return found.problem, found.schedule, found

    def story(found: Solved, problem: Problem, schedule: Schedule) -> gantt.Story:
        path = [(link.job, link.operation) for link in critical_path(problem, schedule)]
        why = {(link.job, link.operation): link.sentence for link in links(problem, schedule)}
        return gantt.Story(found.bound, found.gap, path, why)

    async def shown(
        request: Request, response: Response, id: str, media_type: str, draw: Callable[..., Any], **more: str
    ) -> Response:
        content = await asyncio.to_thread(lambda: draw(*plan_of(request, id)))
        return Response(content, media_type=media_type, headers={**response.headers, **more})

    def view(path: str, summary: str, media_type: str) -> Any:
        described = {"description": "The file", "content": {media_type: {}}}
        none = {"description": "There is no plan yet, or none at all"}
        return router.get(
            f"/plans/{{id}}/{path}",
            summary=summary,
            response_class=Response,
            responses={200: described, 404: {"description": "No such job"}, 409: none, 410: {"description": "Gone"}},
        )

    @view("gantt", "The Gantt chart as an interactive page.", "text/html")
    async def page(
        id: Id, request: Request, response: Response, origin: Origin = None, unit_seconds: Unit = 60
    ) -> Response:
        _check_zone(origin)

        def draw(problem: Problem, schedule: Schedule, found: Solved) -> str:
            seen = story(found, problem, schedule)
            return gantt.page(problem, schedule, seen, origin=origin, unit_seconds=unit_seconds)

        policy = {"content-security-policy": gantt.policy()}
        return await shown(request, response, id, "text/html", draw, **policy)

    for form, media_type in (("png", "image/png"), ("svg", "image/svg+xml")):
        _add_picture(view, shown, story, form, media_type)

    @view("plan.csv", "The plan as a table.", "text/csv")
    async def table(
        id: Id, request: Request, response: Response, origin: Origin = None, unit_seconds: Unit = 60
    ) -> Response:
        _check_zone(origin)

        def draw(problem: Problem, schedule: Schedule, found: Solved) -> str:
            return to_csv(problem, schedule, origin=origin, unit_seconds=unit_seconds)

        return await shown(request, response, id, "text/csv", draw, **_file("plan.csv"))

    @view("calendar.ics", "A calendar of one machine, operator or job, or of the whole plan.", "text/calendar")
    async def calendar(
        id: Id,
        request: Request,
        response: Response,
        origin: Annotated[datetime, Query(description="the moment of time 0, ISO 8601 with a zone")],
        unit_seconds: Unit = 60,
        of: Annotated[Of, Query(description="whose calendar")] = "machine",
        name: Annotated[str, Query(max_length=200, description="empty: the whole plan")] = "",
    ) -> Response:
        def draw(problem: Problem, schedule: Schedule, found: Solved) -> str:
            return to_ical(problem, schedule, origin=origin, unit_seconds=unit_seconds, of=of, name=name)

        return await shown(request, response, id, "text/calendar", draw, **_file("calendar.ics"))


def _add_picture(view: Any, shown: Any, story: Any, form: Any, media_type: str) -> None:
    @view(f"gantt.{form}", f"The Gantt chart as a picture ({form.upper()}).", media_type)
    async def picture(id: Id, request: Request, response: Response) -> Response:
        def draw(problem: Problem, schedule: Schedule, found: Solved) -> bytes:
            if find_spec("matplotlib") is None:
                fix = "take the page instead, or install the extra `charts`"
                raise SystemUnavailable("pictures need matplotlib", where="gantt." + form, fix=fix)
            return drawn(problem, schedule, story(found, problem, schedule), format=form)

        return await shown(request, response, id, media_type, draw)


def _check_zone(origin: datetime | None) -> None:
    if origin is not None and origin.utcoffset() is None:
        fix = "write 2026-01-05T06:00:00%2B01:00 or ...Z"
        raise InvalidRequest("no zone", where="origin", got=origin.isoformat(), fix=fix)


def _file(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"'}


def _example(content: Any) -> dict[str, Any]:
    return {"requestBody": {"content": {"application/json": {"example": content}}}}


def _with_plan() -> dict[str, Any]:
    return {"problem": PLANT, "schedule": example()[1].model_dump(mode="json", exclude_defaults=True)}


def _faster() -> dict[str, Any]:
    """The plant with a second pair of hands at the mills."""
    return {**PLANT, "operators": [{"name": "millers", "count": 2}]}
