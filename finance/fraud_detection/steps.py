"""What the sequence model sees of a customer's latest transactions, made of the counts that both executions give.

No torch here, as serving needs this and not the rest.
"""

from __future__ import annotations

import numpy as np

from finance.fraud_detection.compiled import compiled
from finance.fraud_detection.definition import Definition

CHANNELS = ("present", "amount", "unusual", "age", "weeks", "gap", "sine", "cosine", "same")
"""Of each step: 1; ln(1 + amount); ln of amount + 1 over the median + 1 of those before the current one; ln(1 + s) of
the seconds until the current one; the same in weeks; ln(1 + s) of the seconds since the one before, 0 for the oldest;
sine and cosine of the time of day; 1 where the partner is that of the current one. Amounts in 100 minor units."""
DAY, WEEK = 86_400_000, 604_800_000
"""Milliseconds; here, as numba's cache does not notice when a constant of another file changes."""


def sequences(definition: Definition, counts: np.ndarray, time: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """float32 (rows, steps + 1, CHANNELS): the newest transactions of the first entity, oldest first, then the current.

    `counts` int64 (rows, entities, counts) are those of the definition, `time` ms and `amount` minor units int64
    (rows,) those of the current transactions. Where there is nothing, all channels are 0. A definition without steps
    gives (rows, 0, CHANNELS).
    """
    steps = definition.steps
    if not steps:
        return np.zeros((len(time), 0, len(CHANNELS)), np.float32)
    told = np.ascontiguousarray(counts[:, 0, -3 * steps :]).reshape(len(time), 3, steps)
    return _sequences(told, time, amount, definition.calendar)


@compiled
def _sequences(told: np.ndarray, time: np.ndarray, amount: np.ndarray, calendar: bool) -> np.ndarray:
    """Of `told` int64 (rows, 3, steps): times (-1: none), amounts and `same`, newest first."""
    rows, _, steps = told.shape
    found = np.zeros((rows, steps + 1, len(CHANNELS)), np.float32)
    for i in range(rows):
        taken = 0
        while taken < steps and told[i, 0, taken] >= 0:
            taken += 1
        usual = np.median(told[i, 1, :taken]) if taken > 0 else float(amount[i])
        for k in range(-1, taken):
            now, paid, same = (time[i], amount[i], 1) if k < 0 else (told[i, 0, k], told[i, 1, k], told[i, 2, k])
            step = found[i, steps - 1 - k]
            step[0] = 1
            step[1] = np.log1p(paid / 100)
            step[2] = np.log((paid + 100) / (usual + 100))
            step[3] = np.log1p((time[i] - now) / 1000)
            step[4] = (time[i] - now) / WEEK
            if k + 1 < taken:
                step[5] = np.log1p((now - told[i, 0, k + 1]) / 1000)
            if calendar:
                angle = 2 * np.pi * (now % DAY) / DAY
                step[6], step[7] = np.sin(angle), np.cos(angle)
            step[8] = same
    return found
