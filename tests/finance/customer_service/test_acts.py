"""Dialogue acts: found with their values, from what was said before too."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from common.errors import SchemaError
from finance.customer_service import acts, acts_data
from finance.customer_service.acts_data import Act, Turn
from finance.customer_service.acts_features import Lexicon, context, said_before
from finance.customer_service.acts_model import fit_heads, fit_tagger, hashed
from finance.customer_service.acts_report import counts, f1, floor, lookup

PLACES = ["故宫", "天坛公园", "颐和园", "香山公园", "北海公园", "雍和宫", "恭王府", "圆明园"]


def dialogue(place: str, score: str) -> list[Turn]:
    return [
        Turn(
            "usr",
            f"你好，请推荐评分{score}的景点",
            (("General", "greet", "none", "none"), ("Inform", "景点", "评分", score), ("Request", "景点", "名称", "")),
        ),
        Turn("sys", f"推荐您去{place}游玩。", (("Recommend", "景点", "名称", place),)),
        Turn("usr", f"{place}的电话是多少？", (("Inform", "景点", "名称", place), ("Request", "景点", "电话", ""))),
        Turn("sys", "电话是010-1234567、010-7654321。", (("Inform", "景点", "电话", "010-1234567 010-7654321"),)),
    ]


TRAIN = [dialogue(place, score) for place in PLACES for score in ("4分以上", "4.5分以上")]


@pytest.fixture(scope="module")
def model() -> acts.ActModel:
    return acts.fit_acts(TRAIN, seed=0, epochs=3)


def test_a_new_dialogue_is_read(model: acts.ActModel) -> None:
    told = dialogue("植物公园", "4.5分以上")
    blind = [Turn(turn.speaker, turn.text, ()) for turn in told]
    read = model.read(blind)
    assert f1(counts([told], [read])) > 0.7
    assert ("Inform", "景点", "电话", "010-1234567 010-7654321") in read[3]
    assert model.read(told) == read  # the true acts are not looked at


def test_it_is_better_than_floor_and_lookup(model: acts.ActModel) -> None:
    test = [dialogue("植物公园", "4.5分以上")]
    learnt = f1(counts(test, [model.read(one) for one in test]))
    assert learnt > f1(counts(test, lookup(TRAIN, test))) > f1(counts(test, floor(TRAIN, test))) > 0


def test_empty_and_odd_messages(model: acts.ActModel) -> None:
    read = model.read([Turn("usr", "", ()), Turn("usr", "🙂", ()), Turn("sys", "a" * 500, ())])
    assert len(read) == 3


def test_values_are_placed_apart() -> None:
    turn = Turn(
        "usr",
        "从天坛到天坛公园，人均100到150元",
        (
            ("Inform", "出租", "出发地", "天坛"),
            ("Inform", "出租", "目的地", "天坛公园"),
            ("Inform", "餐馆", "人均消费", "100-150元"),
            ("Inform", "酒店", "价格", "没有"),
            ("Request", "酒店", "评分", ""),
        ),
    )
    placed, rest = acts.locate(turn)
    assert [(turn.text[start:end], slot) for (start, end, slot), _ in placed] == [
        ("天坛", "出发地"),
        ("天坛公园", "目的地"),
        ("100到150元", "人均消费"),
    ]
    assert {act[3] for act in rest} == {"没有", ""}


def test_brackets_are_closed() -> None:
    text = "去全聚德(王府井店）吃饭"
    assert acts.closed(text, (1, 8, "名称")) == (1, 10, "名称")
    assert acts.closed(text, (1, 4, "名称")) == (1, 4, "名称")


def test_a_dialogue_does_not_teach_itself_its_values() -> None:
    lexicon = Lexicon([dialogue("故宫", "4分以上"), dialogue("天坛公园", "4分以上")])
    assert (0, 2, "名称") in lexicon.find("故宫")
    assert lexicon.find("故宫", own=0) == []
    assert lexicon.find("故宫", own=1) == [(0, 2, "名称")]


def test_history_is_context() -> None:
    told = dialogue("故宫", "4分以上")
    assert said_before(told[:2], "故宫很大") == [(0, 2, "景点名称")]
    assert context(told[:2])[-1] == "d景点"
    assert context([]) == ["d-"]


def test_the_tagger_keeps_to_its_grammar() -> None:
    texts = [[hashed([c]) for c in "xaay"], [hashed([c]) for c in "ab"]]
    tagger = fit_tagger(texts, [["O", "B1", "I1", "O"], ["B1", "O"]], epochs=4, seed=0)
    assert tagger.spans([hashed([c]) for c in "yaax"]) == [(1, 3, "1")]
    assert tagger.spans([]) == []
    assert (
        fit_tagger(texts, [["O", "B1", "I1", "O"], ["B1", "O"]], epochs=4, seed=0).moves.tolist()
        == tagger.moves.tolist()
    )


def test_heads_tell_names_apart() -> None:
    rows = [hashed(["a", "c"]), hashed(["b", "c"])] * 4
    heads = fit_heads(rows, [{"A"}, {"B", "C"}] * 4, 1e-4, 0)
    assert heads.names == ("A", "B", "C")
    assert (heads.scores(rows[0]) > 0).tolist() == [True, False, False]
    assert (heads.scores(rows[1]) > 0).tolist() == [False, True, True]


def test_f1_counts_acts() -> None:
    act: Act = ("Inform", "景点", "名称", "故宫")
    told = [[Turn("usr", "故宫", (act,)), Turn("sys", "好", (("General", "thank", "none", "none"),))]]
    table = counts(told, [[{act}, {act}]])
    assert table.tolist() == [[1, 2, 2]]
    assert f1(table) == 0.5
    assert f1(np.zeros((1, 3))) == 0


def test_files_of_crosswoz_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "val.json.zip"
    monkeypatch.setattr(acts_data, "paths", lambda name: {"val.json.zip": path})
    message = {"role": "usr", "content": "谢谢", "dialog_act": [["General", "thank", "none", "none"]]}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("val.json", json.dumps({"1": {"messages": [message]}}))
    assert acts_data.load_dialogues("val") == [[Turn("usr", "谢谢", (("General", "thank", "none", "none"),))]]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("val.json", json.dumps({"1": {"messages": [{"role": "usr"}]}}))
    with pytest.raises(SchemaError, match="not dialogues of CrossWOZ"):
        acts_data.load_dialogues("val")
