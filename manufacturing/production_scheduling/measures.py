"""What the reports of the learning share: a mean with its interval, and all that every report says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.evaluation.metrics import interval
from common.evaluation.report import Metric, Report, Seconds, Slice
from common.provenance import commit, machine, peak_rss_mb
from manufacturing.production_scheduling import SYSTEM

RESAMPLES = 1_000


def mean_by_group(values: np.ndarray, group: np.ndarray) -> Metric:
    """The mean of values (rows,) with its 95 % interval over draws of whole groups (rows,)."""
    code = np.unique(group, return_inverse=True)[1]
    total, count = np.bincount(code, weights=values), np.bincount(code)
    drawn = np.random.default_rng(0).integers(0, len(count), (RESAMPLES, len(count)))
    value = float(values.mean())
    low, high = interval(value, total[drawn].sum(axis=1) / count[drawn].sum(axis=1))
    return Metric(value=value, low=low, high=high, n=len(values))


def report_of(
    dataset: str,
    protocol: str,
    preset: str,
    simulated: bool,
    sha256: str,
    *,
    metrics: Mapping[str, Metric],
    floor: Mapping[str, float],
    baselines: Mapping[str, Mapping[str, float]],
    slices: list[Slice] | None = None,
) -> Report:
    """A report of ours, its seconds to be filled in."""
    return Report(
        system=SYSTEM.name,
        preset=preset,
        dataset=dataset,
        protocol=protocol,
        simulated=simulated,
        data_sha256=sha256,
        metrics=dict(metrics),
        floor=dict(floor),
        baselines={name: dict(values) for name, values in baselines.items()},
        slices=slices or [],
        seconds=Seconds(data=0.0, train=0.0, evaluate=0.0),
        peak_rss_mb=peak_rss_mb(),
        machine=machine(),
        commit=commit(),
    )
