from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest

from common.errors import DeadlineExceeded, InvalidRequest, Overloaded
from common.serving.batcher import Batcher
from common.serving.limits import Limits


class Model:
    """Doubles its rows; `gate` holds it in a batch, `bad` rows fail, `seen` are the batches it got."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Event()
        self.seen: list[list[int]] = []
        self.threads: set[str] = set()

    def __call__(self, rows: Sequence[int]) -> list[int]:
        self.seen.append(list(rows))
        self.threads.add(threading.current_thread().name)
        self.started.set()
        assert self.gate.wait(10)
        if 13 in rows:
            raise InvalidRequest("unlucky", where="number")
        if 14 in rows:
            raise ValueError("bug")
        return [2 * row for row in rows]

    async def hold(self, batcher: Batcher) -> asyncio.Future[list[int]]:
        """Send row 0 and return once the model is busy with it."""
        self.gate.clear()
        self.started.clear()
        first = batcher.submit([0])
        await asyncio.to_thread(self.started.wait, 10)
        return first


def run(check: Callable[[Batcher, Model], Awaitable[None]], *, inline: bool = False, **limits: float) -> Model:
    async def main() -> Model:
        model = Model()
        batcher = Batcher(model, Limits(**limits), inline=inline)  # type: ignore[arg-type]
        try:
            await asyncio.wait_for(check(batcher, model), 20)
        finally:
            model.gate.set()
            await asyncio.to_thread(batcher.close)
        return model

    return asyncio.run(main())


def test_an_idle_model_gets_each_request_at_once() -> None:
    async def check(batcher: Batcher, model: Model) -> None:
        assert await batcher.submit([1]) == [2]
        assert await batcher.submit([2, 3]) == [4, 6]

    model = run(check)
    assert model.seen == [[1], [2, 3]]
    assert model.threads == {"inference-model"}


def test_what_arrives_while_busy_forms_the_next_batch() -> None:
    async def check(batcher: Batcher, model: Model) -> None:
        first = await model.hold(batcher)
        others = [batcher.submit([1]), batcher.submit([2, 3]), batcher.submit([4])]
        assert batcher.queued_rows == 4
        model.gate.set()
        assert await first == [0]
        assert await asyncio.gather(*others) == [[2], [4, 6], [8]]
        assert batcher.queued_rows == 0

    assert run(check).seen == [[0], [1, 2, 3, 4]]


def test_batches_are_capped_by_rows_not_requests() -> None:
    async def check(batcher: Batcher, model: Model) -> None:
        first = await model.hold(batcher)
        others = [batcher.submit(rows) for rows in ([1, 2], [3, 4], [5, 6, 7, 8, 9, 10], [11])]
        model.gate.set()
        assert await asyncio.gather(*others) == [[2, 4], [6, 8], [10, 12, 14, 16, 18, 20], [22]]
        await first

    seen = run(check, model_rows=4).seen
    assert seen[:2] == [[0], [1, 2, 3, 4]]
    assert max(map(len, seen)) == 4
    assert [row for rows in seen for row in rows] == list(range(12))


def test_a_full_queue_refuses_and_keeps_what_it_has() -> None:
    async def check(batcher: Batcher, model: Model) -> None:
        first = await model.hold(batcher)
        queued = [batcher.submit([1, 2]), batcher.submit([3])]
        with pytest.raises(Overloaded, match="3 waiting and 2 more, expected at most 4"):
            batcher.submit([4, 5])
        fits = batcher.submit([6])
        model.gate.set()
        assert await asyncio.gather(first, *queued, fits) == [[0], [2, 4], [6], [12]]

    run(check, queued_rows=4)


def test_a_request_larger_than_the_queue_is_served_when_nothing_waits() -> None:
    async def check(batcher: Batcher, model: Model) -> None:
        assert await batcher.submit(range(15, 25)) == [2 * row for row in range(15, 25)]

    run(check, queued_rows=4)


def test_an_expired_request_never_reaches_the_model() -> None:
    async def check(batcher: Batcher, model: Model) -> None:
        first = await model.hold(batcher)
        late = batcher.submit([1])
        with pytest.raises(DeadlineExceeded, match=r"within 0\.05 s"):
            await late
        with pytest.raises(DeadlineExceeded):
            await first
        model.gate.set()
        assert await batcher.submit([2]) == [4]

    assert run(check, deadline_s=0.05).seen == [[0], [2]]


def test_a_cancelled_request_never_reaches_the_model() -> None:
    async def check(batcher: Batcher, model: Model) -> None:
        first = await model.hold(batcher)
        gone, stays = batcher.submit([1]), batcher.submit([2])
        gone.cancel()
        model.gate.set()
        assert await asyncio.gather(first, stays) == [[0], [4]]

    assert run(check).seen == [[0], [2]]


def test_only_the_bad_request_of_a_batch_fails() -> None:
    async def check(batcher: Batcher, model: Model) -> None:
        first = await model.hold(batcher)
        asked = [batcher.submit(rows) for rows in ([1], [13], [2, 3], [14])]
        model.gate.set()
        good, unlucky, pair, bug = await asyncio.gather(*asked, return_exceptions=True)
        assert (good, pair) == ([2], [4, 6])
        assert isinstance(unlucky, InvalidRequest)
        assert isinstance(bug, ValueError)
        await first

    run(check)


@pytest.mark.parametrize("position", [0, 3, 6])
def test_the_bad_row_of_a_request_is_named(position: int) -> None:
    async def check(batcher: Batcher, model: Model) -> None:
        rows = [1, 2, 3, 4, 5, 6, 7]
        rows[position] = 13
        with pytest.raises(InvalidRequest, match=rf"^rows\[{position}\]\.number: unlucky"):
            await batcher.submit(rows)

    run(check)


def test_a_wrong_number_of_answers_is_an_error_not_a_mix_up() -> None:
    async def main() -> None:
        batcher = Batcher(lambda rows: [1])
        with pytest.raises(RuntimeError, match="1 answers for 2 rows"):
            await batcher.submit([1, 2])
        await asyncio.to_thread(batcher.close)

    asyncio.run(main())


def test_close_answers_the_queued_and_refuses_new_ones() -> None:
    async def check(batcher: Batcher, model: Model) -> None:
        first = await model.hold(batcher)
        queued = [batcher.submit([1, 2]), batcher.submit([3])]
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded, match="shutting down"):
            batcher.submit([4])
        model.gate.set()
        assert await asyncio.gather(first, *queued) == [[0], [2, 4], [6]]
        await closing

    assert run(check, model_rows=2).seen == [[0], [1, 2], [3]]


def test_inline_runs_a_lone_row_on_the_loop_and_queues_behind_a_busy_model() -> None:
    async def check(batcher: Batcher, model: Model) -> None:
        lone = batcher.submit([1])
        assert lone.done()
        assert await lone == [2]
        with pytest.raises(InvalidRequest):
            await batcher.submit([13])
        model.gate.clear()
        model.started.clear()
        pair = batcher.submit([2, 3])
        await asyncio.to_thread(model.started.wait, 10)
        behind = batcher.submit([4])
        assert not behind.done()
        model.gate.set()
        assert await asyncio.gather(pair, behind) == [[4, 6], [8]]

    assert run(check, inline=True).threads == {"MainThread", "inference-model"}


def test_many_concurrent_requests_get_their_own_answers() -> None:
    async def check(batcher: Batcher, model: Model) -> None:
        async def ask(row: int) -> None:
            assert await batcher.submit([row, row + 1]) == [2 * row, 2 * row + 2]

        await asyncio.gather(*(ask(row) for row in range(20, 1020)))

    run(check, model_rows=64)
