"""From the hot path to the store: requests append, a thread masks and writes in batches.

A decision is on disk at most `window_s` after its answer, and the time of one write: that is all that kill -9 can
lose. SIGTERM loses nothing: `close` writes what waits. While the database is away decisions wait in memory, up to
`MOST_ROWS` and `MOST_BYTES`; beyond them they are dropped and counted or, when the audit is required, requests are
refused.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from common.audit.masking import Mask
from common.audit.store import AuditUnavailable, Store, pack
from common.ids import random_id

if TYPE_CHECKING:
    from starlette.types import Scope

    from common.serving.slot import Live

logger = logging.getLogger("espalier.audit")

MOST_ROWS = 100_000
MOST_BYTES = 512 * 1024**2  # of JSON as it was sent; a picture takes megabytes, an applicant 1 KB
BATCH_ROWS = 1_000  # their records take 2 KB each while they are written
BATCH_BYTES = 32 * 1024**2
RETRY_S = 0.5
CLOSE_S = 10.0  # how long closing waits for a database that is away; SIGTERM's grace is 30 s
PURGE_S = 3600.0
DAY_S = 86_400.0
SUBJECT = b"x-subject-key"


Rows = Callable[[], tuple[Sequence[Any], Sequence[Any]]]
"""Gives requests and answers."""
Bodies = tuple[bytes, bytes]
"""Request and answer as JSON, as `unpack` reads it."""


@dataclass(slots=True)
class Decision:
    """An answered request as the hot path leaves it: what is to be masked, or the JSON to keep."""

    id: str
    time: float
    live: Live
    role: str
    request_id: str
    caller: str
    subject: bytes
    ms: float
    n: int
    pair: str
    content: Rows | Bodies

    @property
    def size(self) -> int:
        """Bytes that are kept as they were sent."""
        return len(self.content[0]) + len(self.content[1]) if isinstance(self.content, tuple) else 0


class Recorder:
    """Keeps the decisions of one service; `start` and `close` it with the service."""

    def __init__(
        self, store: Store, mask: Mask, *, window_s: float = 0.5, days: float = 365, required: bool = False
    ) -> None:
        self.store, self.mask = store, mask
        self._window_s, self._days, self._required = window_s, days, required
        self._queue: deque[Decision] = deque()
        self._waiting_for: deque[threading.Event] = deque()
        self._wake = threading.Event()
        self._submitted = 0  # rows; by the event loop only
        self._settled = 0  # rows written or given up; by the thread only
        self._submitted_bytes = self._settled_bytes = 0  # the same in bytes
        self.written = self.lost = 0  # rows; by the thread only
        self.dropped = 0  # rows; by the event loop only
        self._oldest = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self) -> None:
        """Write what waits, then stop; blocks."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self.store.close()

    @property
    def waiting(self) -> int:
        """Rows not yet written."""
        return self._submitted - self._settled

    @property
    def full(self) -> bool:
        """Whether another decision could not be kept."""
        return self.waiting >= MOST_ROWS or self._submitted_bytes - self._settled_bytes >= MOST_BYTES

    @property
    def lag_s(self) -> float:
        """Age of the oldest decision that is not yet written."""
        return max(0.0, time.time() - self._oldest) if self._oldest else 0.0

    def admit(self) -> None:
        """Raises `AuditUnavailable` when a decision could not be kept and the audit is required."""
        if self._required and self.full:
            raise AuditUnavailable("no decision can be put on record now", fix="retry later")

    def record(
        self,
        scope: Scope,
        live: Live,
        n: int,
        rows: Rows,
        *,
        bodies: Bodies | None = None,
        role: str = "",
        pair: str = "",
    ) -> str:
        """Note an answered request of `n` rows; returns the decision's id. Never blocks and never raises.

        `bodies`, when known, are kept as they are where nothing is to be masked: less memory than the objects, nothing
        for the garbage collector, no second serialization.
        `pair` is the id of the decision that a shadow shadows.
        """
        now, state = time.time(), scope["state"]
        key = f"{int(now * 1000):012x}{random_id()[:12]}"
        if self.full:
            self.dropped += n
            return key
        subject = next((value for name, value in scope["headers"] if name == SUBJECT), b"")
        ms = (time.perf_counter() - state["started"]) * 1000
        self._submitted += n
        role = role or state.get("role", "champion")
        who = state["request_id"], state["caller"]
        plain = self.mask.plain_answers and not (live.sensitive or live.hidden)
        content = bodies if bodies and plain else rows
        decision = Decision(key, now, live, role, *who, subject, ms, n, pair, content)
        self._submitted_bytes += decision.size
        self._queue.append(decision)
        return key

    def flush(self, timeout_s: float = 5.0) -> None:
        """Wait until all that was recorded before is written; blocks."""
        done = threading.Event()
        self._waiting_for.append(done)
        self._wake.set()
        done.wait(timeout_s)

    def _run(self) -> None:
        purged = 0.0
        while True:
            # Once in a window, and not for each decision: a wake-up takes the interpreter from the event loop.
            self._wake.wait(self._window_s)
            self._wake.clear()
            ending, told = self._closing.is_set(), [self._waiting_for.popleft() for _ in range(len(self._waiting_for))]
            while batch := self._next_batch():
                self._oldest = batch[0].time
                self._write(batch)
            self._oldest = 0.0
            for done in told:
                done.set()
            if ending:
                return
            if time.monotonic() - purged > PURGE_S and self.written:
                purged = time.monotonic()
                self._purge()

    def _next_batch(self) -> list[Decision]:
        """What waits, up to a number of rows and bytes."""
        batch: list[Decision] = []
        rows = size = 0
        while self._queue and rows < BATCH_ROWS and size < BATCH_BYTES:
            batch.append(self._queue.popleft())
            rows, size = rows + batch[-1].n, size + batch[-1].size
        return batch

    def _write(self, batch: Sequence[Decision]) -> None:
        records = [record for decision in batch if (record := self._record(decision))]
        rows, given_up = sum(decision.n for decision in batch), 0.0
        while True:
            try:
                self.store.add(records)
                self.written += rows
                break
            except AuditUnavailable as error:
                logger.error("%s (%s)", error, error.__cause__)
                if self._closing.is_set():
                    given_up = given_up or time.monotonic() + CLOSE_S
                    if time.monotonic() > given_up:
                        self.lost += rows
                        logger.error("%d decisions are lost: the database was away at the end", rows)
                        break
                time.sleep(RETRY_S)
        self._settled += rows
        self._settled_bytes += sum(decision.size for decision in batch)

    def _record(self, decision: Decision) -> dict[str, Any] | None:
        live, content = decision.live, decision.content
        try:
            inputs, output = content if isinstance(content, tuple) else self._masked(content, live)
        except Exception:  # one that cannot be written must not stop the others
            logger.exception("decision %s cannot be put on record", decision.id)
            self.lost += decision.n
            return None
        return {
            "id": decision.id,
            "time": decision.time,
            "system": live.system,
            "version": live.version,
            "role": decision.role,
            "request_id": decision.request_id,
            "caller": decision.caller,
            "subject": self.mask.subject(decision.subject) if decision.subject else None,
            "pair": decision.pair or None,
            "simulated": live.simulated,
            "ms": decision.ms,
            "rows": decision.n,
            "inputs": pack(inputs),
            "answers": pack(output),
        }

    def _masked(self, rows: Rows, live: Live) -> tuple[bytes, bytes]:
        requests, answers = rows()
        inputs = to_json([self.mask.inputs(_plain(row), live.sensitive) for row in requests])
        output = to_json(answers, by_alias=True)
        if live.sensitive or live.hidden or not self.mask.plain_answers:
            import json

            output = to_json(self.mask.answer(json.loads(output), live.sensitive, live.hidden))
        return inputs, output

    def _purge(self) -> None:
        try:
            if purged := self.store.purge(time.time() - self._days * DAY_S):
                logger.info("retention ended for %d decisions", purged)
        except AuditUnavailable as error:
            logger.error("%s", error)


def _plain(row: Any) -> Any:
    return row if isinstance(row, dict) else vars(row)
