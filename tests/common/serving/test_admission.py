"""A service of which too much is asked: some requests are refused, the others wait and are answered, all keep order."""

from __future__ import annotations

import asyncio

from common.serving.admission import BURST_S, PATIENCE_S, Admission


class Entrant:
    def __init__(self, log: list[str], name: str, whole: bool = True) -> None:
        self.log, self.name, self.whole = log, name, whole

    def enter(self, data: bytes) -> None:
        self.log.append(f"enter {self.name}")

    def refuse(self, data: bytes) -> str | None:
        if not self.whole:
            return None
        self.log.append(f"refuse {self.name}")
        return "/v1/x"


def test_who_waited_longest_comes_in_first_and_those_beyond_are_refused_as_long_as_there_is_time_for_it() -> None:
    async def main() -> None:
        log: list[str] = []
        refused: list[str] = []
        busy = 2
        admission = Admission(2, lambda: busy, refused.append)
        assert admission.full()
        admission.ask(Entrant(log, "a"), b"")
        admission.ask(Entrant(log, "b"), b"")
        assert log == []
        admission.ask(Entrant(log, "c"), b"")
        assert log == ["refuse c"]
        assert refused == ["/v1/x"]
        admission._budget_s = -BURST_S
        admission.ask(Entrant(log, "d"), b"")
        busy = 1
        admission._in_flight = lambda: busy + sum(line.startswith("enter") for line in log)
        admission.leave()
        assert log == ["refuse c", "enter a"]
        busy = -2
        admission.leave()
        assert log[2:] == ["enter b", "enter d"]
        admission._timer.cancel()

    asyncio.run(main())


def test_while_a_model_has_rows_enough_only_one_is_in_flight() -> None:
    async def main() -> None:
        log: list[str] = []
        crowded, busy = True, 1
        admission = Admission(10, lambda: busy, lambda path: None, lambda: crowded)
        assert admission.full()
        for name in "abcd":
            admission.ask(Entrant(log, name), b"")
        admission.leave()
        assert log == []
        busy = 0
        admission._in_flight = lambda: busy + len(log)
        admission.leave()
        assert log == ["enter a"]
        crowded = False
        admission.leave()
        assert log == ["enter a", "enter b", "enter c"]
        admission._timer.cancel()

    asyncio.run(main())


def test_nobody_waits_for_ever() -> None:
    async def main() -> None:
        log: list[str] = []
        admission = Admission(1, lambda: 1, lambda path: None)
        admission.ask(Entrant(log, "whole"), b"")
        admission._waiting.append((0.0, Entrant(log, "part", whole=False), b""))
        admission._waiting[0] = (admission._waiting[0][0] - PATIENCE_S, *admission._waiting[0][1:])
        admission._tick()
        assert log == ["refuse whole", "enter part"]
        assert admission._timer is None

    asyncio.run(main())
