"""Token buckets in this process: a caller may send `burst` requests at once and `rate` per second in the long run."""

from __future__ import annotations

import time
from typing import Protocol

from common.serving.security.caller import Caller

MOST = 10_000


class RateLimit(Protocol):
    """Where the buckets are; `take` decides at once or, when it has to ask, `wait` does."""

    def take(self, caller: Caller) -> float | None:
        """Seconds until the caller may come again, 0 when it may now; None when only `wait` knows."""

    async def wait(self, caller: Caller) -> float:
        """The same, asked for."""

    async def close(self) -> None:
        """Give back what is open."""


class Buckets:
    """The buckets of one process."""

    def __init__(self) -> None:
        self._buckets: dict[str, list[float]] = {}  # caller id -> [tokens, when counted]

    def take(self, caller: Caller) -> float:
        """See `RateLimit`."""
        now = time.monotonic()
        bucket = self._buckets.get(caller.id)
        if bucket is None:
            if len(self._buckets) >= MOST:  # tokens of many subjects; who was quiet longest gets a full bucket
                for old in sorted(self._buckets, key=lambda name: self._buckets[name][1])[: MOST // 4]:
                    del self._buckets[old]
            self._buckets[caller.id] = [caller.burst - 1.0, now]
            return 0.0
        tokens = min(float(caller.burst), bucket[0] + (now - bucket[1]) * caller.rate)
        bucket[1] = now
        if tokens < 1:
            bucket[0] = tokens
            return (1 - tokens) / caller.rate
        bucket[0] = tokens - 1
        return 0.0

    async def wait(self, caller: Caller) -> float:
        """See `RateLimit`."""
        return self.take(caller)

    async def close(self) -> None:
        """Nothing is open."""
