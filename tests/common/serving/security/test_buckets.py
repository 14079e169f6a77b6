from __future__ import annotations

import pytest

from common.serving.security import buckets
from common.serving.security.buckets import Buckets
from common.serving.security.caller import Caller


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(buckets, "time", clock)
    return clock


def caller(name: str, rate: float = 2, burst: int = 5) -> Caller:
    return Caller(name, frozenset(), rate, burst)


def test_burst_then_rate(clock: Clock) -> None:
    limit, one = Buckets(), caller("one")
    assert [limit.take(one) for _ in range(5)] == [0] * 5
    assert limit.take(one) == pytest.approx(0.5)
    assert limit.take(one) == pytest.approx(0.5)  # asking costs nothing
    assert limit.take(caller("two")) == 0
    clock.now += 0.5
    assert limit.take(one) == 0
    assert limit.take(one) == pytest.approx(0.5)
    clock.now += 1000
    assert sum(limit.take(one) == 0 for _ in range(20)) == 5  # never more than the burst


def test_the_number_of_buckets_is_bounded_and_busy_ones_stay(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "MOST", 100)
    limit, busy = Buckets(), caller("busy", rate=0.001, burst=1)
    limit.take(busy)
    for i in range(1000):
        clock.now += 0.001
        limit.take(caller(str(i)))
        assert limit.take(busy) > 0
        assert len(limit._buckets) <= 100
