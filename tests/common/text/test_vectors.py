from __future__ import annotations

import numpy as np

from common.text.vectors import context_vectors

LEFT, A, B, RIGHT, OTHER, C = range(1, 7)


def likeness(vectors, one, other):
    return vectors[one] @ vectors[other] / np.linalg.norm(vectors[one]) / np.linalg.norm(vectors[other])


def test_forms_with_the_same_surroundings_are_near_each_other():
    texts = [np.array(row) for row in ([LEFT, A, RIGHT], [LEFT, B, RIGHT], [OTHER, C, OTHER])] * 4
    vectors = context_vectors([(row, row) for row in texts], 9, 4)
    assert vectors.shape == (9, 4)
    assert likeness(vectors, A, B) > 0.99 > 0.5 > likeness(vectors, A, C)
    assert not vectors[[0, 7, 8]].any()  # no unit, and what is nowhere
    again = context_vectors([(row, row) for row in texts], 9, 4)
    assert np.allclose(vectors, again, atol=1e-5)


def test_on_which_side_something_stands_counts():
    texts = [np.array(row) for row in ([LEFT, A], [B, LEFT], [LEFT, C])] * 4
    vectors = context_vectors([(row, row) for row in texts], 7, 3)
    assert likeness(vectors, A, C) > 0.99 > 0.5 > likeness(vectors, A, B)


def test_too_little_text_gives_zeros():
    assert not context_vectors([(np.zeros(0, np.int64),) * 2], 5, 3).any()
    assert not context_vectors([(np.array([2]),) * 2], 5, 3).any()
