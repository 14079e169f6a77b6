from __future__ import annotations

import json

import numpy as np
import pytest

from common.errors import UsageError
from common.text.ngrams import Grams, NGrams, normalised

TEXTS = ["Where is my card?", "My card is lost", "我的卡丢了", "我要查余额", "where is my money", "余额是多少"]


@pytest.fixture(scope="module")
def ngrams() -> NGrams:
    return NGrams.fit(TEXTS, Grams(least=1))


def test_rows_are_those_of_scikit_learn():
    text = pytest.importorskip("sklearn.feature_extraction.text")
    theirs = text.TfidfVectorizer(
        analyzer="char", ngram_range=(1, 3), sublinear_tf=True, preprocessor=lambda one: f" {normalised(one)} "
    )
    ours = NGrams.fit(TEXTS, Grams(characters=3, words=0, least=1))
    expected = theirs.fit_transform(TEXTS)
    assert ours.vocabulary == theirs.get_feature_names_out().tolist()
    assert ours(TEXTS).toarray() == pytest.approx(expected.toarray(), abs=1e-6)


def test_words_are_counted_and_a_character_of_chinese_is_one():
    found = set(NGrams.fit(["don't pay 我的卡"], Grams(characters=0, least=1)).vocabulary)
    assert found == {
        "\x1f" + gram for gram in ("don't", "pay", "我", "的", "卡", "don't pay", "pay 我", "我 的", "的 卡")
    }


def test_what_is_rare_is_left_out_and_the_most_frequent_are_kept():
    assert NGrams.fit(["a b", "a c", "a b"], Grams(characters=0, words=1, least=2)).vocabulary == ["\x1fa", "\x1fb"]
    assert NGrams.fit(["a b", "a c", "a b"], Grams(characters=0, words=1, most=1)).vocabulary == ["\x1fa"]


def test_full_width_upper_case_and_blanks_do_not_matter(ngrams):
    for row, again in zip(ngrams.row("where is my card"), ngrams.row("ＷＨＥＲＥ  is\nMY card"), strict=True):
        assert row == pytest.approx(again)


def test_rows_together_equal_rows_alone_of_length_one(ngrams):
    together = ngrams(TEXTS).toarray()
    assert np.linalg.norm(together, axis=1) == pytest.approx(1)
    for text, row in zip(TEXTS, together, strict=True):
        assert ngrams([text]).toarray()[0] == pytest.approx(row)


@pytest.mark.parametrize("text", ["", "🙂🙂", "ЖЖЖ"])
def test_what_shares_nothing_is_empty_but_blanks(ngrams, text):
    columns, values = ngrams.row(text)
    assert {ngrams.vocabulary[column] for column in columns} <= {" ", "  "}
    assert np.isfinite(values).all()
    assert ngrams([text, ""]).shape == (2, len(ngrams.vocabulary))


def test_a_hundred_kilobytes_are_read_from_the_start_only(ngrams):
    start = "where is my card " * 60
    for row, again in zip(ngrams.row(start), ngrams.row(start + "我的卡丢了" * 20000), strict=True):
        assert row == pytest.approx(again)


def test_the_state_goes_through_json(ngrams):
    again = NGrams.of(json.loads(json.dumps(ngrams.state())))
    assert again(TEXTS).toarray() == pytest.approx(ngrams(TEXTS).toarray(), abs=1e-7)


def test_no_texts_give_no_rows(ngrams):
    assert ngrams([]).shape == (0, len(ngrams.vocabulary))


def test_nothing_to_count_is_one_sentence():
    with pytest.raises(UsageError, match="n-grams: nothing to count: got 1 texts, expected n-grams that stand in at"):
        NGrams.fit(["once"], Grams(characters=0))
