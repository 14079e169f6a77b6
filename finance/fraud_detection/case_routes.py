"""The case queue by HTTP, mounted under the system: alerts go out to investigators, verdicts and labels come back.

Cases need the scope `cases:<system>`, delayed labels `feedback`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from common.serving.security.policy import NEEDS
from finance.fraud_detection.case_records import (
    EXAMPLE_ID,
    Case,
    CaseFile,
    Id,
    Label,
    Page,
    Person,
    State,
    Summary,
    Verdict,
)
from finance.fraud_detection.cases import CaseQueue

CaseId = Annotated[Id, Path(description="id of the transaction")]
OnLabels = Callable[[Sequence[Label]], None]
CASES: dict[str, Any] = {NEEDS: ["cases"]}


def _body(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(extra="forbid", frozen=True, strict=True, json_schema_extra={"examples": [example]})


class Assignment(BaseModel):
    """Who takes a case; `instead_of` names the one who has it, to take it over."""

    model_config = _body({"person": "ann"})

    person: Person
    instead_of: Person | None = None


class Finding(BaseModel):
    """What an investigator found; `reopen` changes the verdict on a closed case."""

    model_config = _body({"verdict": "fraud", "person": "ann", "note": "card reported stolen"})

    verdict: Verdict
    person: Person
    note: Annotated[str, Field(max_length=4000, pattern=r"^[^\x00]*$")] = ""
    reopen: bool = False


class DelayedLabel(Label):
    """What a transaction turned out to be, as another system says."""

    model_config = ConfigDict(strict=True)

    fraud: int = Field(ge=0, le=1, examples=[1])


class DelayedLabels(BaseModel):
    """Labels of some transactions, with or without a case; all are kept, or none."""

    model_config = _body(
        {
            "labels": [
                {"transaction": EXAMPLE_ID, "fraud": 1, "label_time": 1_534_300_000_000, "source": "chargeback"},
                {"transaction": "tx-2018-08-08-000043", "fraud": 0, "label_time": 1_534_300_000_000, "source": "bank"},
            ]
        }
    )

    labels: Annotated[list[DelayedLabel], Field(min_length=1, max_length=1000)]


class Stored(BaseModel):
    """How many labels were new, and how many were known already."""

    stored: int
    repeated: int


def case_routes(
    queue: Callable[[], CaseQueue], on_labels: OnLabels = lambda labels: None, router: APIRouter | None = None
) -> APIRouter:
    """The routes over a queue, which is asked for at each request; they are added to `router`, or a new one.

    `on_labels` is told the labels that hold of all transactions a request was about, in a worker thread, once they are
    stored. A request that is sent again tells them again, so that none is missed: telling twice must change
    nothing. What a crash in between leaves untold, `CaseQueue.labels` has at the next start.
    """
    router = router or APIRouter()

    @router.get("/cases", summary="Alerts, the largest expected loss first.", openapi_extra=CASES)
    async def list_cases(
        state: State | Literal["all"] = "open",
        assignee: Annotated[str, Query(max_length=100, pattern=r"^[^\x00]*$")] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str, Query(max_length=400, description="of the page before")] = "",
    ) -> Page:
        which = None if state == "all" else state
        return await asyncio.to_thread(lambda: queue().next(limit, state=which, assignee=assignee, cursor=cursor))

    @router.get("/cases/summary", summary="The queue in numbers.", openapi_extra=CASES)
    async def summary() -> Summary:
        return await asyncio.to_thread(lambda: queue().summary())

    @router.get("/cases/{id}", summary="One case, with all labels of its transaction.", openapi_extra=CASES)
    async def one_case(id: CaseId) -> CaseFile:
        return await asyncio.to_thread(lambda: queue().find(id))

    @router.post("/cases/{id}/assign", summary="Take a case; 409 tells who has it.", openapi_extra=CASES)
    async def assign(id: CaseId, body: Assignment) -> Case:
        return await asyncio.to_thread(lambda: queue().assign(id, body.person, instead_of=body.instead_of))

    @router.post("/cases/{id}/verdict", summary="Close a case.", openapi_extra=CASES)
    async def verdict(id: CaseId, body: Finding) -> Case:
        def decide() -> Case:
            found = queue().decide(id, body.verdict, body.person, body.note, reopen=body.reopen)
            on_labels(queue().current([id]))
            return found

        return await asyncio.to_thread(decide)

    @router.post(
        "/labels",
        summary="What transactions turned out to be: chargebacks and the like.",
        openapi_extra={NEEDS: ["feedback"]},
    )
    async def delayed_labels(body: DelayedLabels, request: Request) -> Stored:
        def keep() -> Stored:
            stored = queue().label(body.labels, request.state.caller)
            on_labels(queue().current([label.transaction for label in body.labels]))
            return Stored(stored=stored, repeated=len(body.labels) - stored)

        return await asyncio.to_thread(keep)

    return router
