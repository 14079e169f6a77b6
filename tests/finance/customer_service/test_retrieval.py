"""Retrieval: the right passage with its place, or none."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from common.errors import DataError
from finance.customer_service.retrieval import Passage, Retriever, load_passages, terms
from finance.customer_service.understood import Language

RETRIEVER = Retriever(load_passages())


@pytest.mark.parametrize(
    ("question", "language", "passage"),
    [
        ("I lost my card, what do I do?", "en", "cards#1"),
        ("How long does a transfer take?", "en", "transfers#1"),
        ("what's your exchange rate for euros", "en", "money#1"),
        ("When are your branches open on Saturday?", "en", "money#4"),
        ("how do I change my address", "en", "accounts#5"),
        ("ＦＯＲＧＯＴ my PIN", "en", "cards#6"),
        ("卡丢了怎么办", "zh", "cards#1"),
        ("转账多久能到账？", "zh", "transfers#1"),
        ("今天美元汇率是多少", "zh", "money#1"),
        ("忘记密码了怎么修改", "zh", "cards#6"),
        ("我要销户", "zh", "accounts#2"),
    ],
)
def test_the_right_passage_is_first(question: str, language: Language, passage: str) -> None:
    found = RETRIEVER.search(question, 3, language)
    assert found[0].id == passage
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert all(RETRIEVER.found <= one.score <= 1 and one.language == language for one in found)


@pytest.mark.parametrize(
    "question", ["", "🙂", "the of a", "how is the weather", "tell me a joke", "明天天气怎么样", "x" * 100_000]
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_is_found(question: str, language: Language) -> None:
    assert RETRIEVER.search(question, 3, language) == []


def test_spans_are_of_the_documents() -> None:
    folder = files("finance.customer_service").joinpath("documents")
    for passage in load_passages():
        name = passage.id.split("#")[0]
        document = folder.joinpath(f"{name}.{passage.language}.md").read_text(encoding="utf-8")
        assert document[passage.start : passage.end] == passage.text
        assert "asked:" not in passage.text
        assert passage.asked


def test_known_intents_come_first() -> None:
    question = "somebody has my card, stop it"
    assert RETRIEVER.search(question, 1, "en", ["card_block"])[0].id == "cards#1"
    fees = RETRIEVER.search("how much is it", 3, "en", ["fees"])
    assert {one.id for one in fees} == {"accounts#3", "money#2", "transfers#3"}
    assert RETRIEVER.search("how much is it", 3, "en") == []
    assert RETRIEVER.search(question, 3, "en", ["unheard_of"]) == RETRIEVER.search(question, 3, "en")


def test_both_languages_have_the_same_passages() -> None:
    ids = {language: [one.id for one in load_passages() if one.language == language] for language in ("en", "zh")}
    assert ids["en"] == ids["zh"]


def test_own_documents(tmp_path: Path) -> None:
    (tmp_path / "loans.en.md").write_text("# Loans\n\n## Rate\nThe rate is 3 %.\n\n## Term\nTen years.\n")
    assert [(one.id, one.text) for one in load_passages(tmp_path)] == [
        ("loans#1", "The rate is 3 %."),
        ("loans#2", "Ten years."),
    ]
    assert Retriever(load_passages(tmp_path)).search("什么", 3, "zh") == []
    (tmp_path / "bad.en.md").write_text("no sections")
    with pytest.raises(DataError, match=r"bad\.en\.md"):
        load_passages(tmp_path)
    with pytest.raises(DataError, match="no documents"):
        load_passages(tmp_path / "absent")


def test_vectors_help_where_words_do_not() -> None:
    passages = [Passage("a#1", "en", "Dogs", "Dogs bark.", 0, 10), Passage("a#2", "en", "Cats", "Cats purr.", 0, 10)]

    def embed(texts: list[str]) -> np.ndarray:
        return np.array(
            [[1.0, 0.0] if "kitten" in text or "Cats" in text else [0.0, 1.0] for text in texts], np.float32
        )

    assert Retriever(passages).search("kitten", 1, "en") == []
    assert [one.id for one in Retriever(passages, embed=embed).search("kitten", 2, "en")] == ["a#2"]


def test_terms() -> None:
    assert terms("The Transfers of 2 cards!") == ["transf", "card"]
    assert terms("我的卡丢了") == ["卡", "丢", "卡丢"]
