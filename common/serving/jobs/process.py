"""The service's end of one worker process, which is started when it is needed and again when it has ended.

Processes and not threads: native code that crashes or takes all memory ends one job and not the service, and a job
that does not stop when it is told to can be ended. It costs a start (0.2 s and the imports of the work) for the first
job of each worker, and its memory.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

from common.serving.jobs.worker import ASKED, FAILED, HEAD, READY, STOP, frame

CODE = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from common.serving.jobs.worker import main; " + (
    "main(sys.argv[2])"
)
ENDS = b"rxf"
"""Kinds of frames that end a job."""
MOST_BYTES = 64 * 1024**2
"""Of one frame; a larger answer fails."""
PART_BYTES = 1024**2
START_S = 60.0


class Crashed(Exception):
    """The process has ended before its job; the text says how."""


class Worker:
    """One process that does one job at a time; used on the event loop."""

    def __init__(self, work: str) -> None:
        self._work = work
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Be ready for a job; raises `Crashed`, also when the work cannot be imported."""
        if self._process and self._process.returncode is None:
            return
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CODE, json.dumps(sys.path), self._work),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl+C is for the service, which tells its workers
        )
        try:
            async with asyncio.timeout(START_S):
                kind, _ = await self._read()
        except TimeoutError:
            await self.close()
            raise Crashed(f"did not start within {START_S:g} s") from None
        assert kind == READY

    async def run(self, asked: bytes, on_frame: Callable[[bytes, bytes], None]) -> tuple[bytes, bytes]:
        """Do one job; `on_frame` gets kind and content of what comes before its end, which is returned.

        Raises `Crashed`.
        """
        await self._write(ASKED, asked)
        while True:
            kind, content = await self._read()
            if kind in ENDS:
                return kind, content
            on_frame(kind, content)

    def stop(self) -> None:
        """Ask the job to end with the best it has."""
        if self._process and self._process.stdin:
            self._process.stdin.write(frame(STOP))

    def kill(self) -> None:
        """End the process, and with it the job, at once."""
        if self._process:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def close(self) -> None:
        """End the process and wait until it has."""
        self.kill()
        if self._process:
            await self._process.wait()

    async def _write(self, kind: bytes, content: bytes) -> None:
        assert self._process
        assert self._process.stdin
        self._process.stdin.write(frame(kind, content))
        with suppress(ConnectionError):  # the end of stdout says the same
            await self._process.stdin.drain()

    async def _read(self) -> tuple[bytes, bytes]:
        assert self._process
        assert self._process.stdout
        try:
            head = await self._process.stdout.readexactly(HEAD)
            size = int.from_bytes(head[1:], "big")
            if size <= MOST_BYTES:
                return head[:1], await self._process.stdout.readexactly(size)
            while size:
                size -= len(await self._process.stdout.readexactly(min(size, PART_BYTES)))
            return FAILED, b""
        except asyncio.IncompleteReadError:
            code = await self._process.wait()
            raise Crashed(f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}") from None
