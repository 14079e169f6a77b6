from __future__ import annotations

import numpy as np
import pytest

from common.text.tags import Mark, Tags, agreement, span_scores

TAGS = Tags(("drug", "test"))
UNITS = [(0, 3), (4, 7), (7, 8), (9, 12)]


def test_tags_and_back():
    marks = [Mark(0, 7, "drug"), Mark(9, 12, "test")]
    found = TAGS.of(marks, UNITS)
    assert found.tolist() == [1, 3, 0, 8]
    assert TAGS.marks(found, UNITS) == marks
    three = [Mark(4, 12, "test")]
    assert TAGS.of(three, UNITS).tolist() == [0, 5, 6, 7]
    assert TAGS.marks(TAGS.of(three, UNITS), UNITS) == three


def test_a_unit_that_is_touched_belongs_to_the_mark_and_the_first_of_two_counts():
    assert TAGS.of([Mark(2, 5, "drug"), Mark(4, 12, "test")], UNITS).tolist() == [1, 3, 0, 0]
    assert TAGS.of([Mark(8, 9, "drug")], UNITS).tolist() == [0, 0, 0, 0]
    with pytest.raises(KeyError, match="food"):
        TAGS.of([Mark(0, 3, "food")], UNITS)


def test_what_cannot_be_is_left_out():
    assert TAGS.marks([2, 3, 1, 7], UNITS) == []
    assert TAGS.marks([1, 2, 3, 1], UNITS) == [Mark(0, 8, "drug")]


def test_every_way_to_tag_is_allowed_and_no_other():
    allowed = TAGS.allowed
    assert allowed.shape == (10, 10)
    assert not allowed[-1, -1]
    begin, inside, end, single = 1, 2, 3, 4
    assert allowed[0, [0, begin, single, -1]].all()
    assert not allowed[0, [inside, end]].any()
    assert np.flatnonzero(allowed[begin]).tolist() == [inside, end]
    assert np.flatnonzero(allowed[inside]).tolist() == [inside, end]
    assert np.flatnonzero(allowed[end]).tolist() == [0, 1, 4, 5, 8, 9] == np.flatnonzero(allowed[single]).tolist()
    assert np.flatnonzero(allowed[-1]).tolist() == [0, 1, 4, 5, 8]
    assert np.flatnonzero(allowed[:, -1]).tolist() == [0, 3, 4, 7, 8]


def test_scores_count_whole_marks():
    truth = [[Mark(0, 3, "drug"), Mark(4, 7, "test")], []]
    found = [[Mark(0, 3, "drug"), Mark(4, 8, "test")], [Mark(0, 1, "drug")]]
    counts = agreement(truth, found)
    assert counts.tolist() == [[1, 2, 2], [0, 0, 1]]
    assert span_scores(counts) == {"precision": 1 / 3, "recall": 1 / 2, "f1": 2 / 5}
    assert span_scores(counts[1:]) == {"precision": 0, "recall": 0, "f1": 0}
