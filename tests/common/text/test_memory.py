from __future__ import annotations

import json

import numpy as np
import pytest

from common.text.memory import LEVELS, Memory
from common.text.tags import Mark

TEXTS = ["took aspirin today", "took aspirin today", "took ibuprofen today", "sold aspirin today", "took it"]
MARKS = [[Mark(5, 12, "drug")], [Mark(5, 12, "drug")], [Mark(5, 14, "drug")], [], []]
SINGLE = 4
"""The tag of a mark of one word."""


@pytest.fixture
def memory():
    return Memory("words", ("drug",), (3, 1)).fit(TEXTS, MARKS)


def test_the_middle_of_the_same_surroundings(memory):
    found = memory.features("took aspirin today")
    assert found[1].tolist() == [1 + LEVELS * SINGLE + 1, 1 + LEVELS * SINGLE + 1]  # twice alike; two of three
    assert memory.features("sold aspirin today")[1, 0] == 1  # once, outside
    assert memory.features("He took nothing")[:, 1].tolist() == [0, 1 + 2, 0]
    assert memory.features("").shape == (0, 2)
    assert found.max() < memory.values


def test_a_text_of_its_own_is_read_as_if_it_had_not_been_there(memory):
    without = Memory("words", ("drug",), (3, 1)).fit(TEXTS[1:], MARKS[1:])
    assert np.array_equal(memory.features(TEXTS[0], MARKS[0]), without.features(TEXTS[0]))
    assert memory.features(TEXTS[2], MARKS[2])[1].tolist() == [0, 0]  # ibuprofen is nowhere else


def test_the_state_is_json_and_has_no_word_of_the_texts(memory):
    state = json.dumps(memory.state())
    assert "aspirin" not in state
    again = Memory("words", ("drug",), (3, 1)).restore(json.loads(state))
    for text in (*TEXTS, "a new text"):
        assert np.array_equal(again.features(text), memory.features(text))


def test_no_sizes_no_columns():
    nothing = Memory("words", ("drug",), ()).fit(TEXTS, MARKS)
    assert nothing.features(TEXTS[0], MARKS[0]).shape == (3, 0)
    assert Memory("words", ("drug",), ()).restore(nothing.state()).features("a b").shape == (2, 0)
