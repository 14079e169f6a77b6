"""Random ids for things of which there are thousands a second."""

from __future__ import annotations

import os

MANY = 1024
_ready: list[str] = []
os.register_at_fork(after_in_child=_ready.clear)


def random_id() -> str:
    """Sixteen hexadecimal digits of the system's randomness, from any thread.

    Drawn for `MANY` ids at once: each `os.urandom` gives the interpreter away, which a busy thread gives back half a
    millisecond later.
    """
    while True:
        try:
            return _ready.pop()
        except IndexError:
            digits = os.urandom(8 * MANY).hex()
            _ready.extend(digits[start : start + 16] for start in range(0, len(digits), 16))
