"""The routes beside `predict`: transactions that count, rules, cases and labels, and the state in numbers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, Field, ValidationError

from common.config import settings
from common.errors import EspalierError, RequestError
from common.serving.problems import ProblemDetails, invalid_body, problem_of
from common.serving.security.policy import NEEDS
from finance.fraud_detection.case_routes import case_routes
from finance.fraud_detection.live import Live
from finance.fraud_detection.remembered import Remembered
from finance.fraud_detection.rule_history import Backtest
from finance.fraud_detection.rules import RuleSet
from finance.fraud_detection.serve import Decision

if TYPE_CHECKING:
    from finance.fraud_detection.serve import FraudPredictor

MOST = 10_000
"""Transactions in one request."""


class StateNumbers(BaseModel):
    """The online state in numbers."""

    counted: dict[str, int] = Field(description="transactions, labels, refusals and fallbacks since the start")
    inexact: dict[str, int] = Field(description="what made features differ from the whole history; empty: nothing")
    size: dict[str, int] = Field(description="transactions, entities, bytes; empty for Redis")
    rule_version: int


class Published(BaseModel):
    """The version that a rule set has."""

    version: int = Field(ge=1, le=999_999, examples=[1])


def live_routes(predictor: Callable[[], FraudPredictor]) -> APIRouter:
    """The router over the live state, which is opened at the first request that needs it."""
    router = APIRouter()
    live = Opened(predictor)

    @router.post(
        "/transactions",
        summary="Count a transaction, decide, and queue an alert.",
        response_model=Decision,
        openapi_extra=_body_of({"type": "object", "description": "as for predict"}, "predict"),
    )
    async def one(request: Request, response: Response) -> Response:
        current, asked, decided = predictor(), await request.body(), request.state.decided
        decided.admit()
        body = _valid(current, asked)
        opened = current.live
        if opened is None:
            opened = await asyncio.to_thread(live)
        [found] = await opened.submit(current, body, getattr(request.state, "alone", False))
        if isinstance(found, EspalierError):
            raise found
        content = found.model_dump_json().encode()
        decided.note([body], [found], (b"[%b]" % asked, b"[%b]" % content))
        return Response(content, media_type="application/json", headers=dict(response.headers))

    @router.post(
        "/transactions/batch",
        summary="Many transactions in their order; a refused one holds up no other.",
        openapi_extra={"x-espalier-request": "rows"},
    )
    async def many(body: Transactions, request: Request) -> Decisions:
        """On record are the rows that were decided, in their order: `<decision>.<row>` counts these alone."""
        current, decided = predictor(), request.state.decided
        decided.admit()
        pairs = await asyncio.to_thread(lambda: _take_all(live(), current, body.rows))
        if known := [(asked, found) for asked, found in pairs if isinstance(found, Decision)]:
            decided.note(*zip(*known, strict=True))
        return Decisions(
            rows=[found.model_dump() if isinstance(found, Decision) else problem_of(found) for _, found in pairs]
        )

    @router.get("/state", summary="The online state in numbers.")
    async def numbers() -> StateNumbers:
        opened = await asyncio.to_thread(live)
        return StateNumbers(
            counted=dict(opened.counted),
            inexact=getattr(opened.state, "inexact", {}),
            size=getattr(opened.state, "size", {}),
            rule_version=opened.rules.version,
        )

    @router.get("/rules", summary="The rule set in force.", openapi_extra={NEEDS: ["predict", "rules"]})
    async def rules() -> RuleSet:
        return (await asyncio.to_thread(live)).book.current()

    @router.post(
        "/rules",
        summary="Publish a rule set; `based_on` is the version it was made from.",
        openapi_extra={NEEDS: ["rules"]},
    )
    async def publish(body: RuleSet, based_on: Annotated[int | None, Query(ge=0)] = None) -> Published:
        return Published(version=await asyncio.to_thread(lambda: live().publish(body, based_on)))

    @router.post(
        "/rules/restore", summary="Publish an earlier version again, as a new one.", openapi_extra={NEEDS: ["rules"]}
    )
    async def restore(body: Published) -> Published:
        return Published(version=await asyncio.to_thread(lambda: live().roll_back(body.version)))

    remembered = Remembered()

    @router.post(
        "/rules/backtest",
        summary="What a rule set would have done with the transactions that the bundle remembers.",
        openapi_extra={NEEDS: ["predict", "rules"]},
    )
    async def measure(body: RuleSet) -> Backtest:
        current = predictor()
        return await asyncio.to_thread(lambda: remembered.measure(current, body, live().queue.labels))

    return case_routes(lambda: live().queue, lambda labels: live().learn(labels), router)


class Transactions(BaseModel):
    """Transactions in the order in which they happened."""

    rows: list[dict[str, Any]] = Field(min_length=1, max_length=MOST, description="each as for predict")


class Decisions(BaseModel):
    """For each transaction a decision, or the problem it was refused for."""

    rows: list[dict[str, Any] | ProblemDetails]


class Opened:
    """The live state of one service, opened once; a new predictor is given it before it answers."""

    def __init__(self, predictor: Callable[[], FraudPredictor]) -> None:
        self._predictor, self._lock = predictor, threading.Lock()
        self._live: Live | None = None

    def __call__(self) -> Live:
        """The live state, which the current predictor then looks at."""
        current = self._predictor()
        with self._lock:
            self._live = self._live or Live(current, settings())
            if current.live is None:
                self._live.adopt(current)
        return self._live


class Gauges(Collector):
    """The counters of a live state for Prometheus; nothing before the first transaction."""

    def __init__(self, predictor: Callable[[], FraudPredictor | None]) -> None:
        self._predictor = predictor

    def collect(self) -> Iterable[Metric]:
        """Events by what became of them, and the size of the state."""
        events = CounterMetricFamily("espalier_fraud_events", "What became of transactions and labels", labels=["what"])
        size = GaugeMetricFamily("espalier_fraud_state", "Size of the online state", labels=["of"])
        inexact = CounterMetricFamily("espalier_fraud_inexact", "What made features inexact", labels=["what"])
        current = self._predictor()
        if current and (live := current.live):
            for what, count in live.counted.items():
                events.add_metric([what], count)
            for of, value in getattr(live.state, "size", {}).items():
                size.add_metric([of], value)
            for what, count in getattr(live.state, "inexact", {}).items():
                inexact.add_metric([what], count)
        return [events, size, inexact]


def _take_all(
    live: Live, current: FraudPredictor, rows: Sequence[dict[str, Any]]
) -> list[tuple[BaseModel | None, Decision | EspalierError]]:
    """Every row and what became of it; one that is no transaction has none."""
    asked: list[BaseModel | EspalierError] = []
    for row in rows:
        try:
            asked.append(_valid(current, row))
        except RequestError as error:
            asked.append(error)
    taken = iter(live.take(current, [row for row in asked if isinstance(row, BaseModel)]))
    return [(row, next(taken)) if isinstance(row, BaseModel) else (None, row) for row in asked]


def _valid(current: FraudPredictor, content: bytes | dict[str, Any]) -> BaseModel:
    try:
        if isinstance(content, bytes):
            return current.request.model_validate_json(content)
        return current.request.model_validate(content)
    except ValidationError as error:
        raise invalid_body(error, current.request.model_json_schema()) from None


def _body_of(schema: dict[str, Any], example: str) -> dict[str, Any]:
    return {"requestBody": {"content": {"application/json": {"schema": schema}}}, "x-espalier-request": example}
