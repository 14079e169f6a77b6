from __future__ import annotations

import json

import numpy as np
import pytest

from common.text.columns import LONGEST, RARE, Columns, radical, shape
from common.text.gazetteer import Gazetteer
from common.text.tags import Mark
from common.text.units import plain, units, windows

TEXTS = ["Took aspirin today.", "no aspirin, but Aspirin plus and ibuprofen", "aspirin plus helps"]
MARKS = [[Mark(5, 12, "drug")], [Mark(16, 28, "drug"), Mark(33, 42, "drug")], [Mark(0, 12, "drug")]]


def test_units_are_words_or_characters_with_their_places():
    text = "Hb 7,8 头痛"
    assert [text[start:end] for start, end in units(text, "words")] == ["Hb", "7", ",", "8", "头痛"]
    assert [text[start:end] for start, end in units(text, "characters")] == list("Hb7,8头痛")


def test_plain_keeps_the_length():
    assert plain("ＡB㎎İ") == "ab㎎İ"  # the last two would become two characters


@pytest.mark.parametrize(
    ("text", "longest", "expected"),
    [
        ("One two. Three four five six.", 4, ["One two.", "Three four five six", "."]),
        ("1.5 mg of it", 3, ["1.5", "mg of it"]),
        ("a b\nc d", 3, ["a b", "c d"]),
        ("头痛。发热咳嗽", 3, ["头痛。发热咳嗽"]),
        ("", 3, []),
    ],
)
def test_windows_end_where_sentences_do_or_where_they_are_full(text, longest, expected):
    spans = units(text, "words")
    cuts = windows(text, spans, longest)
    assert [text[spans[cut.start][0] : spans[cut.stop - 1][1]] for cut in cuts] == expected


def test_windows_are_all_of_the_text():
    text = "a b. c d e? f g\nh i j k l m n o p"
    spans = units(text, "words")
    cuts = windows(text, spans, 5)
    assert [at for cut in cuts for at in range(cut.start, cut.stop)] == list(range(len(spans)))
    assert max(cut.stop - cut.start for cut in cuts) <= 5


def test_places_in_phrases_and_how_often_they_are_meant():
    gazetteer = Gazetteer("words", ("drug",)).fit(TEXTS, MARKS)
    assert gazetteer.there == {"aspirin": 4, "aspirin plus": 2, "ibuprofen": 1}
    # "aspirin" is marked once of four times, "aspirin plus" always; the longest counts.
    assert gazetteer.features("aspirin or aspirin plus")[:, 0].tolist() == [4, 0, 9, 11]
    assert gazetteer.features("nothing")[:, 0].tolist() == [0]


def test_a_text_of_its_own_is_read_as_if_it_had_not_been_there():
    gazetteer = Gazetteer("words", ("drug",)).fit(TEXTS, MARKS)
    seen = gazetteer.features(TEXTS[1], MARKS[1])[:, 0].tolist()
    assert seen[-1] == 0  # ibuprofen is marked nowhere else
    assert seen == Gazetteer("words", ("drug",)).fit(TEXTS[::2], MARKS[::2]).features(TEXTS[1])[:, 0].tolist()


def test_the_longest_phrases_from_left_to_right():
    gazetteer = Gazetteer("words", ("drug",)).fit(TEXTS, MARKS)
    assert gazetteer.longest_marks("Aspirin plus ibuprofen, aspirin") == [
        Mark(0, 12, "drug"),
        Mark(13, 22, "drug"),
        Mark(24, 31, "drug"),
    ]


@pytest.mark.parametrize("kind", ["words", "characters"])
def test_rows_have_a_number_for_what_is_common_and_their_state_is_json(kind):
    other = Gazetteer(kind, ("a", "b"), longest=LONGEST[kind]).fit(["today aspirin"], [[Mark(0, 5, "b")]])
    columns = Columns(kind, ("drug",), others=[other], memory=(3, 5)).fit(TEXTS, MARKS)
    assert columns.places == 3
    for text in TEXTS:
        rows = columns(text)
        assert len(rows) == len(units(text, kind))
        assert (rows[:, 0] > 0).all()
        assert (rows[:, : len(columns.sizes)] < columns.sizes).all()
    seen, never = ("aspirin", "yesterday") if kind == "words" else ("a", "Z")
    assert columns(seen)[0, 0] > RARE == columns(never)[0, 0]
    assert (columns.letters > 0) == (kind == "words")
    again = Columns.restore(json.loads(json.dumps(columns.state())))
    for text in (*TEXTS, "", "new words"):
        assert np.array_equal(columns(text), again(text))
    assert again.sizes == columns.sizes
    assert columns("today")[0, len(columns.sizes) - 3] > 0  # as "b" of the other dictionary


def test_the_shape_of_a_word():
    assert [shape(word) for word in ("Abc", "APC", "p53", "x", "-")] == ["Xx", "X", "x0", "x", "-"]


def test_the_radical_of_a_character():
    assert [radical(character) for character in "痛癌铂脑a3，"] == ["疒", "疒", "金", "肉", "x", "0", "，"]
