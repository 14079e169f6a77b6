"""Chances against all sequences, counted one by one."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from common.text.chances import chances


@pytest.mark.parametrize("units", [0, 1, 2, 5])
def test_as_all_sequences_say(units: int) -> None:
    rng = np.random.default_rng(units)
    emissions, transitions = rng.normal(size=(units, 3)) * 3, rng.normal(size=(4, 4))
    transitions[0, 1] = -1e4  # never
    expected = np.zeros((units, 3))
    for tags in product(range(3), repeat=units):
        path = [3, *tags, 3]
        score = sum(transitions[a, b] for a, b in pairwise(path))
        score += sum(emissions[at, tag] for at, tag in enumerate(tags))
        for at, tag in enumerate(tags):
            expected[at, tag] += np.exp(score)
    if units:
        expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(chances(emissions, transitions), expected, atol=1e-9)


def test_a_long_sequence_does_not_overflow() -> None:
    found = chances(np.full((5000, 3), 50.0), np.zeros((4, 4)))
    np.testing.assert_allclose(found, 1 / 3)
