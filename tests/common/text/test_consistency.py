from __future__ import annotations

import pytest

from common.text.consistency import consistent
from common.text.tags import Mark


def found(text, kind, *phrases):
    """What is found when the first place of each phrase is marked."""
    marks = [Mark(text.index(phrase), text.index(phrase) + len(phrase), "d") for phrase in phrases]
    return [text[mark.start : mark.end] for mark in consistent(text, marks, kind)]


@pytest.mark.parametrize(
    ("text", "phrases", "expected"),
    [
        ("Wilson disease (WD). WD is rare.", ["Wilson disease"], ["Wilson disease", "WD", "WD"]),
        ("Wilson disease (WD; rare)", ["Wilson disease"], ["Wilson disease", "WD"]),
        ("Wilson disease (rare). A rare case.", ["Wilson disease"], ["Wilson disease"]),
        ("Wilson disease (BRCA).", ["Wilson disease"], ["Wilson disease"]),
        ("Ataxia, ataxias, Ataxia", ["Ataxia"], ["Ataxia", "Ataxia"]),
        ("gout in gout, gout and gout", ["gout"], ["gout"]),  # one of four: the others were seen and not meant
    ],
)
def test_equal_phrases_and_their_abbreviations(text, phrases, expected):
    assert found(text, "words", *phrases) == expected


def test_no_mark_is_lost_and_none_is_touched():
    text = "colon cancer, cancer, breast cancer"
    marks = [Mark(0, 12, "d"), Mark(14, 20, "d"), Mark(22, 35, "d")]
    assert consistent(text, marks, "words") == marks
    assert consistent(text, [], "words") == []


def test_characters_have_no_words_and_one_alone_says_nothing():
    assert found("头痛，无头痛", "characters", "头痛") == ["头痛", "头痛"]
    assert found("肝，肝癌", "characters", "肝") == ["肝"]
    assert found("疾病(AB)", "characters", "疾病") == ["疾病"]
