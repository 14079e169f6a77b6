"""What one kind of jobs may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class JobLimits:
    """Bounds of one `Jobs`; whatever is beyond them is refused or forgotten, never piled up."""

    running: int = 1
    """Jobs side by side, each in a process of its own."""
    waiting: int = 16
    """More are refused with 503."""
    each: int = 8
    """Jobs of one caller that wait or run; more are refused with 429."""
    seconds: float = 600.0
    """Most time that a client may ask for."""
    grace_s: float = 2.0
    """How long a job that should end may take to end by itself, before its process is killed."""
    drain_s: float = 5.0
    """On SIGTERM, how long a job that somebody listens to may go on."""
    kept: int = 64
    kept_s: float = 3600.0
    kept_bytes: int = 256 * 1024**2
    """How many results are kept, how long, and how large together; the oldest go first."""
    events: int = 256
    """Newest events of a job that a reader who comes back can still have."""
    streams: int = 32
    """Open event streams; each is one of the requests that the service may have in flight."""
    heartbeat_s: float = 15.0
    """Proxies close a connection that is silent for longer: 60 s in nginx."""
    patience_s: float = 30.0
    """A reader who takes no byte for so long is left."""
