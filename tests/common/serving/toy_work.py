"""What the toy system does in its jobs: counts, and on request whatever work can do wrong."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable

from common.errors import InvalidRequest


def count(asked: bytes, report: Callable[..., None], stop: Callable[[], bool]) -> bytes:
    wanted = {"steps": 3, "pause": 0.0, "seconds": 10.0, "then": "", **json.loads(asked)}
    total, then = 0, wanted["then"]

    def answer() -> bytes:
        return json.dumps({"total": total, "stopped": stop(), "pid": os.getpid()}).encode()

    until = time.monotonic() + wanted["seconds"]
    while total < wanted["steps"] and time.monotonic() < until and (then == "stubborn" or not stop()):
        time.sleep(wanted["pause"])
        total += 1
        report({"total": total}, answer())
    match then:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "bug":
            raise ValueError("secret internals")
        case "refuse":
            raise InvalidRequest("this cannot be counted", where="steps", got=wanted["steps"], expected="fewer")
        case "hang":
            time.sleep(60)
        case "exit":
            os._exit(3)
        case "nonsense":
            return b'{"total": "many"}'
        case "print":
            print("from a library " * 1000, flush=True)
            os.write(1, b"straight to the descriptor\n")
        case "large":
            return b" " * (70 * 2**20)
    return answer()
