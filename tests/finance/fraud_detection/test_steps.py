from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from streams import SMALL, at_rest, drawn

from finance.fraud_detection.history import history
from finance.fraud_detection.steps import CHANNELS, sequences


def plain(counts: list[int], t: int, amount: int, calendar: bool) -> list[list[float]]:
    """The channels of one transaction and those before it, oldest first, in plain Python."""
    steps = SMALL.steps
    told = [(counts[-3 * steps + k], counts[-2 * steps + k], counts[-steps + k]) for k in range(steps)]
    seen = [one for one in told if one[0] >= 0][::-1]
    usual = np.median([one[1] for one in seen]) if seen else amount
    found, before = [[0.0] * len(CHANNELS)] * (steps - len(seen)), None
    for now, paid, same in [*seen, (t, amount, 1)]:
        angle = 2 * np.pi * (now % 86_400_000) / 86_400_000
        clock = [np.sin(angle), np.cos(angle)] if calendar else [0, 0]
        gap = 0 if before is None else np.log1p((now - before) / 1000)
        age = (t - now) / 1000
        unusual = np.log((paid + 100) / (usual + 100))
        found.append([1, np.log1p(paid / 100), unusual, np.log1p(age), age / (7 * 86_400), gap, *clock, same])
        before = now
    return found


@pytest.mark.parametrize("calendar", [True, False])
def test_steps_are_those_of_their_definition(calendar):
    definition = SMALL.model_copy(update={"calendar": calendar})
    table = at_rest(drawn(5).table)
    counts = history(definition, table)
    found = sequences(definition, counts, table.time, table.amount)
    assert found.dtype == np.float32
    assert found.shape == (400, SMALL.steps + 1, len(CHANNELS))
    expected = [plain(counts[i, 0].tolist(), int(table.time[i]), int(table.amount[i]), calendar) for i in range(400)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert (found[:, 0, 0] == 1).sum() > 50
    assert 0 < found[:, :-1, CHANNELS.index("same")].mean() < 0.5


def test_a_row_does_not_depend_on_the_others():
    table = at_rest(drawn(6).table)
    counts = history(SMALL, table)
    together = sequences(SMALL, counts, table.time, table.amount)
    for i in (0, 7, 399):
        one = slice(i, i + 1)
        np.testing.assert_array_equal(sequences(SMALL, counts[one], table.time[one], table.amount[one]), together[one])


def test_labels_change_nothing():
    table = at_rest(drawn(7).table)
    known = sequences(SMALL, history(SMALL, table), table.time, table.amount)
    table.fraud[:] = 1 - np.abs(table.fraud)
    np.testing.assert_array_equal(sequences(SMALL, history(SMALL, table), table.time, table.amount), known)


def test_a_definition_without_steps_has_none():
    none = SMALL.model_copy(update={"steps": 0})
    table = at_rest(drawn(8).table)
    found = sequences(none, history(none, table), table.time, table.amount)
    assert found.shape == (400, 0, len(CHANNELS))


def test_steps_are_told_without_torch():
    code = "import sys, finance.fraud_detection.steps; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
