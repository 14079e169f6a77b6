from __future__ import annotations

import pytest

from common.errors import ModelUnavailable

pytest.importorskip("tokenizers")

from common.text.tokens import Tokens

CLS, SEP, UNK = 2, 3, 1


@pytest.fixture
def tokens(tiny) -> Tokens:
    return Tokens(tiny / "tokenizer.json", longest=6)


def test_a_row_is_framed_and_filled_to_the_longest(tokens):
    ids = tokens(["my card", "where is my card"])
    assert ids.shape == (2, 6)
    assert ids[0, 0] == ids[1, 0] == CLS
    assert ids[0].tolist()[3:] == [SEP, 0, 0]
    assert ids[1, -1] == SEP
    assert ids[0, 1:3].tolist() == ids[1, 3:5].tolist()


def test_what_is_too_long_is_cut_off_and_still_framed(tokens):
    ids = tokens(["where is my new card lost"])
    assert ids.shape == (1, 6)
    assert ids[0].tolist() == tokens(["where is my new and more of it"])[0].tolist()
    assert ids[0, -1] == SEP


def test_a_hundred_kilobytes_give_what_their_start_gives(tokens):
    start = "where is my new card "
    assert tokens([start * 5000]).tolist() == tokens([start]).tolist()
    assert tokens([" \n" * 30 + start]).tolist() == tokens([start]).tolist()


def test_nothing_and_unknown_signs_have_a_row(tokens):
    assert tokens([""]).tolist() == [[CLS, SEP]]
    assert tokens(["🙂"]).tolist() == [[CLS, UNK, SEP]]
    assert tokens([]).shape == (0, 0)


def test_special_tokens_in_a_text_are_plain_text(tokens):
    row = tokens(["[PAD] [SEP]"])[0].tolist()
    assert 0 not in row
    assert row.count(SEP) == 1
    assert row[1] == UNK


def test_bytes_are_read_like_the_file(tiny, tokens):
    again = Tokens((tiny / "tokenizer.json").read_bytes(), longest=6)
    assert again(["my card"]).tolist() == tokens(["my card"]).tolist()


def test_another_file_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "tokenizer.json").write_text("[]")
    with pytest.raises(ModelUnavailable, match=r"tokenizer\.json: not a tokenizer \(.*\); put the right file there\.$"):
        Tokens(tmp_path / "tokenizer.json")
    with pytest.raises(ModelUnavailable, match="not a tokenizer"):
        Tokens(tmp_path / "missing.json")
