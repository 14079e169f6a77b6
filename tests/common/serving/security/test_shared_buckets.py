"""Two replicas and a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from guarded import PREDICT, Service
from redis import Redis

from common.serving.security import shared_buckets
from common.serving.security.caller import Caller
from common.serving.security.shared_buckets import SharedBuckets


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy test machine may keep a healthy Redis waiting for longer than a service would."""
    monkeypatch.setattr(shared_buckets, "TIMEOUT_S", 3.0)


def with_replicas(url: str, run: Callable[[list[SharedBuckets]], Awaitable[None]], count: int = 2) -> None:
    async def main() -> None:
        replicas = [SharedBuckets(url) for _ in range(count)]
        try:
            await run(replicas)
        finally:
            for replica in replicas:
                await replica.close()

    asyncio.run(main())


async def take(limit: SharedBuckets, caller: Caller) -> bool:
    wait = limit.take(caller)
    if wait is None:
        wait = await limit.wait(caller)
    return wait == 0


# So slow that nothing comes back while a test runs.
SLOW = Caller("key:slow", frozenset(), 0.001, 10)
# Portions of ten tokens.
WIDE = Caller("key:wide", frozenset(), 0.001, 100)


def test_replicas_share_one_burst(redis: Any) -> None:
    async def run(replicas: list[SharedBuckets]) -> None:
        admitted = [await take(replicas[i % 2], SLOW) for i in range(40)]
        assert admitted == [True] * 10 + [False] * 30
        assert await replicas[0].wait(SLOW) > 900
        assert await take(replicas[1], replace(SLOW, id="key:another"))

    with_replicas(redis.url, run)


def test_in_a_storm_no_more_than_the_burst_passes(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_buckets, "_size", lambda caller: 10)

    async def run(replicas: list[SharedBuckets]) -> None:
        admitted = await asyncio.gather(*(take(replicas[i % 4], WIDE) for i in range(1000)))
        assert 100 - 4 * 20 <= sum(admitted) <= 100  # what is missing lies in the replicas' portions
        assert sum(admitted) >= 60

    with_replicas(redis.url, run, 4)


def test_portions_spare_redis_the_most_requests(redis: Any) -> None:
    fast = Caller("key:fast", frozenset(), 10_000, 10_000)

    async def run(replicas: list[SharedBuckets]) -> None:
        for _ in range(5000):
            assert await take(replicas[0], fast)

    with_replicas(redis.url, run, 1)
    with Redis(port=redis.port) as client:
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] < 100


def test_tokens_come_back_and_buckets_are_forgotten(redis: Any) -> None:
    quick = Caller("key:quick", frozenset(), 10, 1)

    async def run(replicas: list[SharedBuckets]) -> None:
        assert await take(replicas[0], quick)
        refused = await replicas[0].wait(quick)
        assert 0 < refused <= 0.11
        while not await take(replicas[1], quick):
            await asyncio.sleep(0.02)

    with_replicas(redis.url, run)
    with Redis(port=redis.port) as client:
        [key] = client.keys("espalier:rate:*")
        assert b"quick" not in key  # subjects may be e-mail addresses
        assert 0 < client.ttl(key) <= 2


def test_without_redis_each_replica_limits_by_itself_and_finds_it_again(
    redis: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shared_buckets, "PAUSE_S", 0.2)

    async def run(replicas: list[SharedBuckets]) -> None:
        redis.stop()
        monkeypatch.setattr(shared_buckets, "PAUSE_S", 60)
        for replica in replicas:
            assert [await take(replica, SLOW) for _ in range(12)] == [True] * 10 + [False] * 2
        assert "each replica limits by itself" in caplog.text
        redis.start()
        for replica in replicas:
            replica._alone_until = 0
        assert [await take(replicas[i % 2], SLOW) for i in range(12)] == [True] * 10 + [False] * 2

    with_replicas(redis.url, run)


def test_through_the_service(redis: Any, service: Service) -> None:
    headers = service.key("admin", rate=0.01, burst=4)
    service.settings.redis_url = redis.url
    with service.client() as first, service.client() as second:
        statuses = [client.post(PREDICT, headers=headers).status_code for client in (first, second) * 4]
        refused = first.post(PREDICT, headers=headers)
    assert statuses == [200] * 4 + [429] * 4
    assert 1 <= int(refused.headers["retry-after"]) <= 100
