"""What a busy service does with one more request: takes it in, lets it wait, or refuses it.

Refusing costs 30 µs even when nothing of the request is parsed, most of it the kernel's. A service of 6,000 requests a
second that is asked for 24,000 and refuses the rest at once has a third of its capacity left. So refusing gets a share
of the time; what is neither taken in nor refused waits in its connection, which asks for nothing more
meanwhile. Nobody waits longer than `PATIENCE_S` before an answer begins, and memory does not depend on the load.

Requests of many rows wait as soon as a model has enough of them: to read one and then find the queue full would waste
as much time as to answer it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

PATIENCE_S = 2.0
TICK_S = 0.05
SHARE = 0.01  # of the time, for refusals; the kernel takes about as much again for their reading
BURST_S = 0.004
STEP = 2  # taken in when one leaves: how many rows they bring is known only a turn of the loop later


class Entrant(Protocol):
    """A connection with the first bytes of a request that have been read."""

    def enter(self, data: bytes) -> None:
        """Go on with them."""

    def refuse(self, data: bytes) -> str | None:
        """Answer 503 and return the path, or None when they are not one whole `POST` and must be parsed first."""


class Admission:
    """One for a service; `in_flight()` counts the requests it works on, `on_refused(path)` is told of each refusal.

    Up to `most` are in flight, as many again may wait, and of those beyond some are refused and the others wait too.
    While `crowded()` none comes in, but for one at a time.
    """

    def __init__(
        self,
        most: int,
        in_flight: Callable[[], int],
        on_refused: Callable[[str], None],
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._most, self._in_flight, self._on_refused, self._crowded = most, in_flight, on_refused, crowded
        self._waiting: deque[tuple[float, Entrant, bytes]] = deque()
        self._budget_s, self._counted = BURST_S, 0.0
        self._timer: asyncio.TimerHandle | None = None

    def full(self) -> bool:
        """Whether one more has to ask."""
        return bool(self._waiting) or not self._has_room()

    def ask(self, entrant: Entrant, data: bytes) -> bool:
        """True when the request is refused; else it waits."""
        if len(self._waiting) >= self._most and self._may_refuse() and self._refuse(entrant, data):
            return True
        self._waiting.append((time.monotonic(), entrant, data))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        return False

    def leave(self) -> None:
        """A request has ended: who has waited longest comes in."""
        for _ in range(STEP):
            if not (self._waiting and self._has_room()):
                return
            _, entrant, data = self._waiting.popleft()
            entrant.enter(data)

    def _tick(self) -> None:
        self.leave()
        late = time.monotonic() - PATIENCE_S
        while self._waiting and self._waiting[0][0] < late:
            _, entrant, data = self._waiting.popleft()
            if not self._refuse(entrant, data):
                entrant.enter(data)
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick) if self._waiting else None

    def _has_room(self) -> bool:
        in_flight = self._in_flight()
        return in_flight < self._most and (in_flight == 0 or not self._crowded())

    def _may_refuse(self) -> bool:
        now = time.perf_counter()
        self._budget_s = min(BURST_S, self._budget_s + (now - self._counted) * SHARE)
        self._counted = now
        return self._budget_s > 0

    def _refuse(self, entrant: Entrant, data: bytes) -> bool:
        started = time.perf_counter()
        path = entrant.refuse(data)
        if path is not None:
            self._on_refused(path)
        self._budget_s -= time.perf_counter() - started
        return path is not None
