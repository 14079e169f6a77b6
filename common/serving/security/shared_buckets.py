"""Token buckets in Redis, so that all replicas of a service share one limit per caller.

A round trip to Redis (0.2 ms) in each request would cost more than the whole rest of the service. So a replica takes
tokens in small portions, ahead of need, and spends them from memory. A token is taken before it is spent, so all
replicas together never exceed `burst + rate × time` by more than two portions each; a portion is a twentieth of a
second's rate and no more than a tenth of the burst, and slow callers (below 20 per second) are asked for one by one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.serving.security.buckets import MOST, Buckets
from common.serving.security.caller import Caller

logger = logging.getLogger("espalier.security")

TIMEOUT_S = 0.25
PAUSE_S = 2.0
"""After a failure Redis is left alone this long, and each replica limits by itself."""
KEEP_S = 2.0
"""A portion not spent in this time is thrown away; the caller's bucket has filled again by then."""

# Redis' own clock, so that the replicas' clocks do not matter. Answers {tokens granted, milliseconds to the next}.
TAKE = """
local rate, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = math.min(burst, tonumber(kept[1] or burst) + math.max(0, now - tonumber(kept[2] or now)) * rate)
local granted = math.min(wanted, math.floor(tokens))
tokens = tokens - granted
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], math.ceil(burst / rate) + 1)
return {granted, math.ceil(math.max(0, 1 - tokens) / rate * 1000)}
"""


@dataclass(slots=True)
class _Portion:
    tokens: int = 0
    taken: float = 0.0
    blocked: float = 0.0  # empty until this time: no need to ask again
    asking: asyncio.Task[None] | None = None


class SharedBuckets:
    """See the module; `prefix` keeps services that share a Redis apart."""

    def __init__(self, url: str, prefix: str = "espalier:rate:") -> None:
        self._redis = Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        self._script = self._redis.register_script(TAKE)
        self._prefix = prefix
        self._portions: dict[str, _Portion] = {}
        self._alone = Buckets()
        self._alone_until = 0.0

    def take(self, caller: Caller) -> float | None:
        """See `RateLimit`."""
        now = time.monotonic()
        if now < self._alone_until:
            return self._alone.take(caller)
        portion = self._portion(caller)
        if portion.tokens and now - portion.taken > KEEP_S:
            portion.tokens = 0
        if portion.tokens:
            portion.tokens -= 1
            if portion.tokens < _size(caller) // 2 and not portion.asking and now >= portion.blocked:
                self._ask(caller, portion)
            return 0.0
        return portion.blocked - now if now < portion.blocked else None

    async def wait(self, caller: Caller) -> float:
        """See `RateLimit`."""
        while True:
            portion = self._portion(caller)
            # shielded: a client that leaves must not cancel the question that others wait for
            await asyncio.shield(portion.asking or self._ask(caller, portion))
            verdict = self.take(caller)
            if verdict is not None:
                return verdict

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    def _portion(self, caller: Caller) -> _Portion:
        portion = self._portions.get(caller.id)
        if portion is None:
            if len(self._portions) >= MOST:
                idle = [name for name, old in self._portions.items() if not old.asking]
                for name in idle[: MOST // 4]:
                    del self._portions[name]
            portion = self._portions[caller.id] = _Portion()
        return portion

    def _ask(self, caller: Caller, portion: _Portion) -> asyncio.Task[None]:
        portion.asking = asyncio.create_task(self._fill(caller, portion))
        return portion.asking

    async def _fill(self, caller: Caller, portion: _Portion) -> None:
        try:
            arguments = [caller.rate, caller.burst, _size(caller)]
            # By hash: an issuer may use e-mail addresses as subjects, and Redis need not know them.
            key = self._prefix + hashlib.sha256(caller.id.encode()).hexdigest()[:32]
            granted, wait_ms = await self._script(keys=[key], args=arguments)
            now = time.monotonic()
            portion.tokens, portion.taken = portion.tokens + int(granted), now
            portion.blocked = 0.0 if granted else now + int(wait_ms) / 1000
        except (RedisError, OSError, TimeoutError) as error:
            logger.error("no shared rate limit, each replica limits by itself: %s", type(error).__name__)
            self._alone_until = time.monotonic() + PAUSE_S
        finally:
            portion.asking = None


def _size(caller: Caller) -> int:
    return max(1, int(min(caller.rate / 20, caller.burst / 10)))
