"""Loops compiled by numba, kept on disk for the next start where there is a place to keep them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from numba import njit

logger = logging.getLogger("espalier.fraud")


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call, to run without the interpreter's lock.

    Kept in `NUMBA_CACHE_DIR`, `__pycache__` or `~/.cache/numba`. Where none of them can be written, as in a container
    that is read-only all over, every start compiles again.
    """
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba: "no locator available"
        logger.info("%s is compiled at each start: set NUMBA_CACHE_DIR to a folder to keep it", function.__name__)
        return njit(nogil=True)(function)
