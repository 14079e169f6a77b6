"""The process in which jobs run, one after the other; frames come in on stdin and go out on stdout.

A frame is one byte of kind, four of length (big endian) and so many of content. Work is a function
`work(asked, report, stop) -> bytes`, named as `"module:attribute"`: `asked` and the answer are JSON, `report(progress,
best)` tells what has been reached (and what would be the answer if the work ended now), and once `stop()` is true it
ends soon with the best it has. It may raise a `RequestError`, which is told to the client; anything else is not.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from queue import SimpleQueue
from typing import Any, BinaryIO, Protocol

from common.errors import RequestError

ASKED, STOP = b"a", b"s"
READY, PROGRESS, BEST, RESULT, REFUSED, FAILED = b"y", b"p", b"b", b"r", b"x", b"f"
HEAD = 5
NICE = 5
"""Requests come first: a solver takes every core it is given."""
KILLED_FIRST = "500"
"""When memory runs out the kernel ends this process, not the service."""


class Report(Protocol):
    """Tells the service how far the work is."""

    def __call__(self, progress: dict[str, Any], best: bytes | None = None) -> None:
        """From any thread."""


Work = Callable[[bytes, Report, Callable[[], bool]], bytes]


def frame(kind: bytes, content: bytes = b"") -> bytes:
    """A message as it is sent."""
    return kind + len(content).to_bytes(4, "big") + content


def main(work: str) -> None:
    """Import the work, say so, and do what comes until stdin ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints goes to the log
    if hasattr(os, "nice"):
        os.nice(NICE)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write(KILLED_FIRST)
    lock, stop, jobs = threading.Lock(), threading.Event(), SimpleQueue[bytes]()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, jobs, stop), daemon=True).start()

    def send(kind: bytes, content: bytes = b"") -> None:
        with lock:
            try:
                out.write(frame(kind, content))
                out.flush()
            except BrokenPipeError:
                os._exit(0)  # the service is gone

    def report(progress: dict[str, Any], best: bytes | None = None) -> None:
        if best is not None:
            send(BEST, best)
        send(PROGRESS, json.dumps(progress, allow_nan=False).encode())

    module, _, attribute = work.partition(":")
    run: Work = getattr(import_module(module), attribute)
    send(READY)
    while True:
        try:
            send(RESULT, run(jobs.get(), report, stop.is_set))
        except RequestError as error:
            told = {name: getattr(error, name) for name in ("what", "where", "got", "expected", "fix", "status")}
            send(REFUSED, json.dumps(told, default=str).encode())
        except Exception:
            traceback.print_exc()
            send(FAILED)


def _listen(source: BinaryIO, jobs: SimpleQueue[bytes], stop: threading.Event) -> None:
    while head := source.read(HEAD):
        content = source.read(int.from_bytes(head[1:], "big"))
        if head[:1] == STOP:
            stop.set()
        else:
            stop.clear()  # a word to stop that came too late was for the job before
            jobs.put(content)
    os._exit(0)  # the service is gone, and nobody waits for what is under way
