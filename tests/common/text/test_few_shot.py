from __future__ import annotations

import numpy as np
import pytest

from common.errors import UsageError

pytest.importorskip("scipy")

from common.text.few_shot import Spreading, spread


@pytest.fixture
def rings():
    """Two crescents on a sphere, that only their neighbours hold together; one labelled point at an end of each."""
    angle = np.linspace(0, 2.4, 60)
    plane = np.concatenate(
        [
            np.stack([np.cos(angle), np.sin(angle) - 0.4, np.full(60, 0.9)], axis=1),
            np.stack([1 - np.cos(angle), 0.6 - np.sin(angle) - 0.4, np.full(60, 0.9)], axis=1),
        ]
    )
    truth = np.repeat([0, 1], 60)
    labels = np.full(120, -1)
    labels[[0, 60]] = 0, 1
    return plane / np.linalg.norm(plane, axis=1, keepdims=True), labels, truth


EVEN = np.full((118, 2), 0.5)
"""A guess of nothing."""


def test_labels_follow_the_neighbours_where_the_first_guess_knows_nothing(rings):
    vectors, labels, truth = rings
    closely = Spreading(neighbours=3, share=0.99, rounds=2000, closeness=100)
    assert (spread(vectors, labels, EVEN, closely).argmax(1) == truth).mean() > 0.95


def test_without_neighbours_the_first_guess_stays(rings):
    vectors, labels, _ = rings
    guess = np.random.default_rng(0).dirichlet([1, 1], size=118)
    assert spread(vectors, labels, guess, Spreading(share=0))[labels < 0] == pytest.approx(guess)


def test_chances_add_up_and_labelled_rows_keep_their_label(rings):
    vectors, labels, _ = rings
    found = spread(vectors, labels, EVEN)
    assert found.shape == (120, 2)
    assert found.sum(1) == pytest.approx(1)
    assert (found >= 0).all()
    assert found[[0, 60]].tolist() == [[1, 0], [0, 1]]


def test_the_order_of_texts_does_not_matter(rings):
    vectors, labels, _ = rings
    order = np.random.default_rng(0).permutation(len(labels))
    assert spread(vectors[order], labels[order], EVEN) == pytest.approx(spread(vectors, labels, EVEN)[order])


def test_blocks_change_nothing(rings, monkeypatch):
    vectors, labels, _ = rings
    whole = spread(vectors, labels, EVEN)
    monkeypatch.setattr("common.text.few_shot.BLOCK", 7)
    assert spread(vectors, labels, EVEN) == pytest.approx(whole)


def test_all_labelled_is_their_labels(rings):
    vectors, _, truth = rings
    assert spread(vectors, truth, EVEN[:0]).argmax(1).tolist() == truth.tolist()


def test_a_class_without_a_text_is_refused(rings):
    vectors, labels, _ = rings
    with pytest.raises(UsageError, match="a class has no labelled text: got none of class 1, expected one at least"):
        spread(vectors, np.where(labels == 1, 2, labels), EVEN)
    with pytest.raises(UsageError, match="got none of class 0"):
        spread(vectors, np.full(120, -1), EVEN)
