"""Two requests in one message, for the test of understanding them."""

from __future__ import annotations

import numpy as np
import pytest

from finance.customer_service.data import load
from finance.customer_service.language import language_of
from finance.customer_service.pairs import join, pairs
from finance.customer_service.simulator import SIMULATED


@pytest.mark.parametrize(
    ("first", "second", "between", "language", "text"),
    [
        ("I lost my card.", "I want my balance", " and ~", "en", "I lost my card and want my balance"),
        ("I want to pay", "I want to block my card", " and ~", "en", "I want to pay and block my card"),
        ("Block it?", "What is my balance?", " and ", "en", "Block it? and what is my balance?"),
        ("Block it?", "What is my balance?", "\n", "en", "Block it?\nWhat is my balance?"),
        ("Block it", "PIN reset", ". ", "en", "Block it. PIN reset"),
        ("我的卡丢了。", "我想查余额", "，顺便~", "zh", "我的卡丢了，顺便想查余额"),
        ("卡丢了", "What is my balance", "，", "mixed", "卡丢了，what is my balance"),
    ],
)
def test_two_are_joined_as_people_write(first, second, between, language, text):
    assert join(first, second, between, language) == text


def test_pairs_are_of_two_intents_and_say_what_they_are_made_of():
    data = load(SIMULATED).train
    made = pairs(data, 20, 0)
    assert {kind: len(some) for kind, some in made.items()} == {"en": 20, "zh": 20, "mixed": 20}
    assert made == pairs(data, 20, 0)
    for kind, some in made.items():
        for text, first, second in some:
            assert data.intent[first] != data.intent[second]
            spoken = {data.language[first], data.language[second]}
            assert spoken == ({"en", "zh"} if kind == "mixed" else {kind})
            assert language_of(text)


def test_a_language_that_is_not_there_has_no_pairs():
    data = load(SIMULATED).train
    assert set(pairs(data.rows(np.flatnonzero(data.language == "en")), 2, 0)) == {"en"}
