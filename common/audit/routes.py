"""Labels come back by `POST /v1/feedback`; decisions are shown and erased to whoever has the scope `admin`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from prometheus_client import CollectorRegistry, Histogram
from pydantic import BaseModel, ConfigDict, Field

from common.audit.gauges import DELAYS_S
from common.audit.recorder import Recorder
from common.audit.store import UnknownDecision
from common.monitoring.online import Monitor

DECISION = r"^[0-9a-f]{24}(\.[0-9]{1,6})?$"
DecisionId = Annotated[str, Field(pattern=DECISION, examples=["0193f1a2b3c40a1b2c3d4e5f"])]


class Label(BaseModel):
    """What came true for one decision: 1 or true for the event a probability is about."""

    model_config = ConfigDict(extra="forbid")

    decision: DecisionId
    label: (
        bool | Annotated[int, Field(ge=-(2**53), le=2**53)] | Annotated[float, Field(allow_inf_nan=False)]
        | Annotated[str, Field(max_length=200)]
    )  # fmt: skip


class Feedback(BaseModel):
    """Labels of some decisions; all are kept, or none."""

    model_config = ConfigDict(extra="forbid")

    labels: Annotated[list[Label], Field(min_length=1, max_length=1000)]


class Kept(BaseModel):
    """How many labels were new, and how many were known already."""

    stored: int
    repeated: int


class Subject(BaseModel):
    """Whose decisions to erase: the `X-Subject-Key` that came with them."""

    model_config = ConfigDict(extra="forbid")

    subject: Annotated[str, Field(min_length=1, max_length=4096)]


class Erased(BaseModel):
    """How many requests are no longer on record."""

    decisions: int


def audit_routes(
    recorder: Recorder, monitors: Callable[[], Sequence[Monitor]], registry: CollectorRegistry
) -> APIRouter:
    """The routes over a recorder; a new label is told to the monitor of the version that decided."""
    router = APIRouter(tags=["audit"])
    delay = Histogram(
        "espalier_label_delay_seconds",
        "Time from a decision to its label",
        ["system"],
        buckets=DELAYS_S,
        registry=registry,
    )

    def keep(given: list[tuple[str, Any]], caller: str) -> list[dict[str, Any]]:
        now = time.time()
        try:
            return recorder.store.label(given, caller, now)
        except UnknownDecision:  # a label may be quicker than the batch that writes its decision
            recorder.flush()
            return recorder.store.label(given, caller, now)

    @router.post("/v1/feedback", summary="What came true: labels of decisions.")
    async def feedback(body: Feedback, request: Request) -> Kept:
        given = [(label.decision, label.label) for label in body.labels]
        fresh = await asyncio.to_thread(keep, given, request.state.caller)
        for decision in fresh:
            delay.labels(decision["system"]).observe(max(0.0, time.time() - decision["time"]))
            tell(monitors(), decision)
        return Kept(stored=len(fresh), repeated=len(given) - len(fresh))

    @router.get("/v1/decisions/{decision}", summary="One decision on record, masked.")
    async def decision(decision: Annotated[str, Path(pattern=DECISION)]) -> dict[str, Any]:
        try:
            return await asyncio.to_thread(recorder.store.find, decision)
        except UnknownDecision:
            await asyncio.to_thread(recorder.flush)
            return await asyncio.to_thread(recorder.store.find, decision)

    @router.post("/v1/erasure", summary="Erase all decisions of a subject, with their labels.")
    async def erasure(body: Subject) -> Erased:
        def erase() -> int:
            recorder.flush()
            return recorder.store.erase(recorder.mask.subject(body.subject.encode()))

        return Erased(decisions=await asyncio.to_thread(erase))

    return router


def tell(monitors: Sequence[Monitor], decision: dict[str, Any]) -> None:
    """Give a label to the monitor of the version that decided, when that still lives."""
    for monitor in monitors:
        same = (monitor.system, monitor.version) == (decision["system"], decision["version"])
        if same and (predicted := probability_of(decision["output"])) is not None:
            monitor.observe_label(predicted, decision["label"])


def probability_of(output: Any) -> float | None:
    """The probability in an answer: its first field whose name begins so."""
    found = (value for name, value in output.items() if name.startswith("probability"))
    value = next(found, None)
    return float(value) if isinstance(value, int | float) else None


def recall(recorder: Recorder, monitor: Monitor) -> None:
    """Tell a new monitor the labels that its model has already, so that a restart forgets none."""
    for label, output in recorder.store.labelled(monitor.system, monitor.version, monitor.limits.labels):
        if (predicted := probability_of(output)) is not None:
            monitor.observe_label(predicted, label)
