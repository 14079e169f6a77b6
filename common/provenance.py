"""Where a number comes from: the commit, the machine, the memory it took."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
from functools import lru_cache
from pathlib import Path


@lru_cache
def commit() -> str:
    """Short git hash of the code that runs, `-dirty` when it was changed; `unknown` outside a checkout.

    Benchmarks and Markdown do not count as code: a run rewrites them, and the next one is not dirty for it.
    """
    try:
        found = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", ".", ":!benchmarks", ":!*.md")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found + ("-dirty" if changed else "")


def _git(*arguments: str) -> str:
    root = Path(__file__).resolve().parent.parent
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def cores() -> int:
    """Processors this process may use (where the system tells, else those of the machine)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """Processor, cores, memory and Python in one line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        model = next(
            (ln.split(":", 1)[1].strip() for ln in cpuinfo.read_text().splitlines() if "model name" in ln), model
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {cores()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def peak_rss_mb() -> float:
    """Highest resident memory so far of this process or a finished child, in MB (Linux counts KiB, macOS bytes)."""
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return peak / (2**20 if platform.system() == "Darwin" else 2**10)
