"""The system as it runs: transactions come in, are counted, decided and queued; labels and rules come back.

Everything that reads or changes the state holds one lock; alerts reach the case queue by a thread of their own, since a
database takes milliseconds that a decision does not have.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from common.config import Settings
from common.errors import EspalierError, InvalidRequest, RequestError
from common.serving.batcher import Batcher
from finance.fraud_detection.case_records import Alert, Label
from finance.fraud_detection.cases import CaseQueue, open_queue
from finance.fraud_detection.clock import DAY, MINUTE
from finance.fraud_detection.durable import Durable
from finance.fraud_detection.kernels import NEW, OTHER, SAME, TOO_OLD
from finance.fraud_detection.online import LATENESS, Rows, State, hashed
from finance.fraud_detection.rules import CompiledRules, RuleBook

if TYPE_CHECKING:
    from asyncio import Future

    from finance.fraud_detection.serve import Decision, FraudPredictor

logger = logging.getLogger("espalier.fraud")
SKEW = 5 * MINUTE
"""Milliseconds by which a sender's clock may be ahead of ours."""
ALERTS, TOGETHER = 10_000, 500
"""Alerts that may wait for the queue, and that are written at a time."""


class ChangedTransaction(RequestError):
    """The id was used before, for a transaction with another content."""

    status = 409


class Live:
    """State, rules and case queue of one service."""

    def __init__(self, predictor: FraudPredictor, settings: Settings, clock: Callable[[], int] | None = None) -> None:
        self._clock = clock or (lambda: time.time_ns() // 1_000_000)
        self.state = _state(predictor, settings)
        self.queue: CaseQueue = open_queue(settings)
        self.book = RuleBook(settings.home / "rules" / "finance.fraud_detection", predictor.schema)
        self.rules = CompiledRules(self.book.current(), predictor.schema)
        self.counted: Counter[str] = Counter()
        self._lock, self._waiting = threading.Lock(), Queue[Alert](ALERTS)
        self._closing = threading.Event()
        self._learn(self._known_labels())
        self._desk = Batcher(self._take_pairs, name="transactions")
        self._writer = threading.Thread(target=self._write_alerts, daemon=True)
        self._writer.start()

    def adopt(self, predictor: FraudPredictor) -> None:
        """Let a predictor look at this state; raises `InvalidRequest` when it counts something else."""
        if predictor.definition != self.state.definition:
            raise InvalidRequest(
                "the new model counts something else than the state that runs",
                fix="start the service again with an empty state folder, or train with the same windows and entities",
            )
        predictor.live = self

    def take(self, predictor: FraudPredictor, batch: Sequence[BaseModel]) -> list[Decision | EspalierError]:
        """Count and decide transactions in their order; one that is refused is answered by its error."""
        rows = predictor.rows_of(batch)
        late = rows.time > self._clock() + SKEW
        fine = np.flatnonzero(~late)
        found: list[Any] = [None] * len(batch)
        for i in np.flatnonzero(late).tolist():
            self.counted["in the future"] += 1
            found[i] = InvalidRequest("in the future", where="time", got=batch[i].__dict__["time"].isoformat())
        counts, became = self._count(rows.part(fine))
        decided = self._decide(predictor, [batch[i] for i in fine.tolist()], rows.part(fine), counts)
        for place, i in enumerate(fine.tolist()):
            what = NEW if became is None else int(became[place])
            found[i] = self._judged(batch[i], decided[place], what, int(rows.time[i]), int(rows.amount[i]))
        self.counted["transactions"] += len(batch)
        return found

    def submit(self, predictor: FraudPredictor, one: BaseModel, alone: bool) -> Future[list[Decision | EspalierError]]:
        """`take` one transaction together with others that wait; from the event loop. See `Batcher.submit`."""
        return self._desk.submit([(predictor, one)], alone)

    def _take_pairs(self, pairs: Sequence[tuple[FraudPredictor, BaseModel]]) -> list[Decision | EspalierError]:
        found: list[Decision | EspalierError] = []
        for _, some in groupby(pairs, key=lambda pair: id(pair[0])):  # two while a model is swapped
            predictors, batch = zip(*some, strict=True)
            found += self.take(predictors[0], batch)
        return found

    def look(self, predictor: FraudPredictor, batch: Sequence[BaseModel]) -> list[Decision]:
        """Decide without remembering anything."""
        rows = predictor.rows_of(batch)
        try:
            with self._lock:
                counts: np.ndarray | None = self.state.look(rows.time, rows.keys)
        except RequestError:
            self.counted["degraded"] += len(batch)
            counts = None
        return self._decide(predictor, batch, rows, counts)

    def learn(self, labels: Sequence[Label]) -> None:
        """Labels that hold, from the case queue; one that was taken back counts until it is old."""
        self._learn([(label.transaction, label.fraud, label.label_time) for label in labels if label.fraud >= 0])

    def publish(self, rules: Any, based_on: int | None) -> int:
        """Make a rule set the current one; returns its version."""
        version = self.book.publish(rules, based_on)
        self.rules = CompiledRules(self.book.current(), self.book.schema)
        return version

    def roll_back(self, version: int) -> int:
        """Publish an earlier version again."""
        new = self.book.roll_back(version)
        self.rules = CompiledRules(self.book.current(), self.book.schema)
        return new

    def close(self) -> None:
        """Write what waits and give back what it holds."""
        if not self._closing.is_set():
            self._desk.close()
            self._closing.set()
            self._writer.join(timeout=5)
            with self._lock:
                self.state.close()
            self.queue.close()

    def _count(self, rows: Rows) -> tuple[np.ndarray | None, np.ndarray | None]:
        try:
            with self._lock:
                return self.state.take(rows)
        except RequestError as error:
            # Decided by the declared fallback, and counted as such; Redis takes the rows in when it is back.
            self.counted["degraded"] += len(rows)
            logger.warning("decided without history: %s", error)
            return None, None

    def _decide(
        self, predictor: FraudPredictor, batch: Sequence[BaseModel], rows: Rows, counts: np.ndarray | None
    ) -> list[Decision]:
        return predictor.decide(batch, rows, counts, self.rules) if len(batch) else []

    def _judged(
        self, request: BaseModel, decision: Decision, became: int, at: int, amount: int
    ) -> Decision | EspalierError:
        fields = request.__dict__
        if became == OTHER:
            self.counted["changed"] += 1
            return ChangedTransaction(
                "this id was used for another transaction", where="id", got=repr(fields["id"]), fix="send a new id"
            )
        if became == TOO_OLD:
            self.counted["too old"] += 1
            days = getattr(self.state, "keep", LATENESS) / DAY
            expected = f"at most {days:g} days before the latest"
            return InvalidRequest(
                "too old to be counted", where="time", got=fields["time"].isoformat(), expected=expected
            )
        decision.duplicate = became == SAME
        self.counted["duplicates" if decision.duplicate else decision.decision] += 1
        if decision.decision != "approve" and not decision.duplicate:
            self._alert(request, decision, at, amount)
        return decision

    def _alert(self, request: BaseModel, decision: Decision, at: int, amount: int) -> None:
        fields, entities = request.__dict__, self.state.definition.entities
        alert = Alert(
            id=decision.id,
            time=at,
            amount=amount,
            currency=fields["currency"],
            entities={name: fields[name] for name in entities if fields[name]},
            score=decision.score if decision.score is not None else 1.0,
            decision=decision.decision,
            rules=decision.rules,
            reasons=[reason.model_dump() for reason in decision.reasons],
            model=decision.model,
            rule_version=str(decision.rule_version),
        )
        try:
            self._waiting.put_nowait(alert)
        except Full:
            self.counted["alerts lost"] += 1
            logger.error("the case queue is %d alerts behind: %s is not queued", ALERTS, decision.id)

    def _write_alerts(self) -> None:
        """Alerts into the queue, tried again while its database is away."""
        batch: list[Alert] = []
        while not (self._closing.is_set() and self._waiting.empty() and not batch):
            try:
                batch = batch or [self._waiting.get(timeout=0.2)]
                while len(batch) < TOGETHER:
                    batch.append(self._waiting.get_nowait())
            except Empty:
                pass
            try:
                self.queue.open_cases(batch)
                self.counted["alerts"] += len(batch)
                batch = []
            except RequestError as error:
                logger.warning("alerts wait: %s", error)
                if self._closing.wait(1.0):
                    return

    def _known_labels(self) -> list[tuple[str, int, int]]:
        try:
            return list(self.queue.labels())
        except RequestError as error:
            logger.warning("no labels until the case queue answers: %s", error)
            return []

    def _learn(self, labels: Sequence[tuple[str, int, int]]) -> None:
        if not labels:
            return
        none = np.zeros(len(labels), np.int64)
        rows = Rows(
            np.array([fraud for _, fraud, _ in labels], np.int8),
            np.array([hashed(id) for id, _, _ in labels], np.uint64),
            np.array([at for _, _, at in labels], np.int64),
            none,
            np.zeros((len(labels), len(self.state.definition.entities)), np.uint64),
        )
        with self._lock:
            self.state.take(rows, counted=False)
        self.counted["labels"] += len(labels)


def _state(predictor: FraudPredictor, settings: Settings) -> State:
    """Redis when it is set, else a folder; what the bundle remembers, when it is new."""
    if settings.redis_url:
        from finance.fraud_detection.redis_state import RedisState

        shared = RedisState(predictor.definition, settings.redis_url, "espalier:fraud")
        shared.seed(predictor.seed_rows)
        return shared
    own = Durable(predictor.definition, settings.home / "state" / "finance.fraud_detection")
    if not own.size["transactions"]:
        own.take(predictor.seed_rows, counted=False)
    return own
