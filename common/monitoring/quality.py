"""Data-quality alarms: missing, out of range, unseen categories, constant fields.

Each needs a share above its limit (`MonitorPolicy`) and Fisher's exact test, with one Benjamini-Hochberg
correction over all of them, so that a small window does not cry wolf.
"""

from __future__ import annotations

from math import log

import numpy as np

from common.monitoring.bins import FieldBins, WindowCounts
from common.monitoring.drift import benjamini_hochberg, fisher
from common.monitoring.report import Alarm, AlarmKind, MonitorPolicy

CONSTANT_SPREAD = 0.999  # of the reference in one bin: a field that was constant at training may stay so


def quality_alarms(
    fields: list[FieldBins], parts: list[np.ndarray], window: WindowCounts, policy: MonitorPolicy
) -> list[Alarm]:
    """What is wrong with the values of a judged window; `parts` are each field's counts."""
    found: list[tuple[float, Alarm]] = []
    tests = 0
    for i, (bins, counts) in enumerate(zip(fields, parts, strict=True)):
        known = int(counts[:-2].sum())
        for kind, hits, of, before, limit, words in _shares(bins, counts, known, policy):
            tests += 1
            if of and hits / of > limit:
                p = fisher(hits, of, before, bins.n)
                sentence = f"{bins.name}: {hits / of:.1%} {words} ({hits:,} of {of:,} rows, limit {limit:.1%})."
                found.append((p, Alarm(kind=kind, field=bins.name, value=hits / of, limit=limit, sentence=sentence)))
        tests += 1
        if known and is_constant(bins, counts, window.lows[i], window.highs[i]):
            top = min(float(bins.shares.max() / max(bins.shares.sum(), 1e-12)), 1 - 1 / (bins.n + 1))
            p = float(np.exp(known * log(top)))  # every row in the likeliest bin, by chance
            if bins.shares.max() < CONSTANT_SPREAD * bins.shares.sum():
                sentence = f"{bins.name}: one and the same value in all {known:,} rows."
                alarm = Alarm(kind="constant", field=bins.name, value=1.0, limit=1.0, sentence=sentence)
                found.append((p, alarm))
    adjusted = benjamini_hochberg([p for p, _ in found] + [1.0] * (tests - len(found)))
    return [alarm for (_, alarm), p in zip(found, adjusted, strict=False) if p <= policy.alpha]


def is_constant(bins: FieldBins, counts: np.ndarray, low: float, high: float) -> bool:
    """Whether all known values of the window are one."""
    if bins.levels is None:
        return bool(low == high)
    return np.count_nonzero(counts[:-2]) == 1 and counts[len(counts) - 3] == 0  # other levels may be many


def _shares(
    bins: FieldBins, counts: np.ndarray, known: int, policy: MonitorPolicy
) -> list[tuple[AlarmKind, int, int, float, float, str]]:
    """Kind, hits, of how many, hits in the reference, limit, words."""
    rows = int(counts[:-1].sum())
    missing = bins.missing * bins.n
    words = f"missing, {bins.missing:.1%} at training"
    found: list[tuple[AlarmKind, int, int, float, float, str]] = [
        ("missing", int(counts[-2]), rows, missing, bins.missing + policy.missing, words)
    ]
    if bins.has_range:
        # One hit beside none: a new row beats the smallest or the largest of m with chance 2 / (m + 1).
        words = f"outside {bins.low:g} to {bins.high:g}"
        found.append(("out_of_range", int(counts[-1]), known, 1, policy.out_of_range, words))
    if bins.complete:
        # Levels seen once foretell the share of those not seen at all (Good 1953, Biometrika 40).
        singles = 1 + int(np.count_nonzero(np.round(bins.reference) == 1))
        found.append(("unseen", int(counts[-3]), known, singles, policy.unseen, "categories that training never saw"))
    return found
