"""Threads of a system's own for what blocks: a route that waits holds up nobody but its own callers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from common.errors import Overloaded

T = TypeVar("T")


class Threads:
    """At most `most_waiting` calls are taken at once, `threads` of them run; `close` when the service ends."""

    def __init__(self, name: str, threads: int, most_waiting: int) -> None:
        self._pool, self._most, self._waiting = ThreadPoolExecutor(threads, name), most_waiting, 0
        self.close = self._pool.shutdown

    async def run(self, act: Callable[..., T], *arguments: object) -> T:
        """`act(*arguments)`; raises `Overloaded` when too many wait."""
        if self._waiting >= self._most:
            expected, fix = f"at most {self._most}", f"retry after {Overloaded.retry_after} s"
            raise Overloaded("too many requests are being answered", expected=expected, fix=fix)
        self._waiting += 1
        try:
            context = copy_context()  # with the model that `own_route` has pinned
            return await asyncio.get_running_loop().run_in_executor(self._pool, context.run, act, *arguments)
        finally:
            self._waiting -= 1
