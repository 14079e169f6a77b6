"""Real programs and their addresses."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest


def program(name: str, package: str) -> str:
    """Path of a program, or skip; `.ci/run` installs all that are asked for here."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: apt install {package}")
    return found


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def eventually(check: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 60.0) -> Any:
    """The first true value of `check()` while `process` lives."""
    until = time.monotonic() + seconds
    while not (found := check()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "in vain"
        time.sleep(0.1)
    return found


def address(service: subprocess.Popen[str]) -> str:
    """Where a service that was just started listens, from its greeting."""
    assert service.stdout
    greeting = service.stdout.readline()
    match = re.search(r":(\d+), try it", greeting)
    if not match:
        service.kill()
    assert match, (greeting, *service.communicate())
    return f"http://127.0.0.1:{match[1]}"
