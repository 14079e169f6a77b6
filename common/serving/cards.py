"""What serves, and what is known of it: `/v1/models` in short, `/v1/models/<system>` with the model card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from common.bundle.acceptance import of_project
from common.serving.limits import Limits
from common.serving.slot import Slot


class ModelCard(BaseModel):
    """One system of the service and what serves it."""

    system: str
    summary: str
    risk: str
    status: str
    reason: str
    version: str
    created: str
    simulated: bool
    threads: int
    routes: list[str]


class ModelDetails(ModelCard):
    """The same with what its bundle says: metrics, data with licences and hashes, and the card as Markdown."""

    acceptance: list[str]
    metrics: dict[str, Any]
    data: dict[str, Any]
    card: str


def card_of(app: FastAPI, slot: Slot, limits: Limits) -> ModelCard:
    """The short form."""
    prefix = f"/v1/{slot.system.short_name}/"
    return ModelCard(
        system=slot.system.name,
        summary=slot.system.summary,
        risk=slot.system.risk,
        status=slot.status,
        reason=slot.reason,
        version=slot.version,
        created=slot.live().created if slot.status == "ready" else "",
        simulated=slot.simulated,
        threads=limits.threads,
        routes=[path for path in app.openapi()["paths"] if path.startswith(prefix)],
    )


def card_routes(app: FastAPI, slots: Sequence[Slot], limits: Limits) -> APIRouter:
    """`GET /v1/models` and `GET /v1/models/{system}`."""
    router = APIRouter(tags=["service"])

    @router.get("/v1/models", summary="The systems of this service and their models.")
    async def models() -> list[ModelCard]:
        return [card_of(app, slot, limits) for slot in slots]

    @router.get("/v1/models/{system}", summary="One system with its model card.")
    async def model(system: str) -> ModelDetails:
        for slot in slots:
            if system in (slot.system.name, slot.system.short_name):
                facts = slot.live().facts if slot.status == "ready" else {"metrics": {}, "data": {}, "card": ""}
                short = card_of(app, slot, limits).model_dump()
                return ModelDetails(
                    **short, acceptance=[*slot.system.acceptance, *of_project(slot.system.name)], **facts
                )
        raise HTTPException(404, "There is no such system here; GET /v1/models lists them all.")

    return router
