"""What one service accepts: sizes, counts and times, in one record."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of a service; the defaults refuse a 10 MB body on every route."""

    body_bytes: int = 2 * 1024**2
    batch_body_bytes: int = 8 * 1024**2
    large_bodies_bytes: int = 128 * 1024**2
    """Most bytes at once of bodies over these two, where a predictor takes any (its `body_bytes`); then 503."""
    batch_rows: int = 10_000
    model_rows: int = 1024
    """Most rows the model sees at once; a larger request is predicted in slices."""
    queued_rows: int = 4096
    """Most rows waiting for one model before requests are refused with 503."""
    deadline_s: float = 10.0
    requests: int = 256
    """Most requests in flight; a `POST` beyond it is refused with 503 before it is looked at."""
    threads: int = 1
    """Native threads (OpenMP, BLAS) of each model's inference thread."""
