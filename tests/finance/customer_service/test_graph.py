"""Task graphs as files: what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finance.customer_service.graph import FOLDER, GraphError, load_tasks
from finance.customer_service.nodes import Call, Form, Text, targets

TEXT = {"en": "x", "zh": "x"}


def graph(**nodes: Any) -> dict[str, Any]:
    return {
        "id": "one",
        "title": TEXT,
        "start": "a",
        "slots": {"card": {"kind": "card", "title": TEXT, "ask": TEXT, "again": TEXT}},
        "nodes": nodes,
    }


def load(**nodes: Any) -> Any:
    return load_tasks(more={"one": graph(**nodes)})


END = {"do": "end"}


def test_ours_are_complete() -> None:
    tasks = load_tasks()
    assert len(tasks.graphs) == 9
    used = {node.operation for each in tasks.graphs.values() for node in each.nodes.values() if isinstance(node, Call)}
    assert used == set(tasks.operations)
    for each in tasks.graphs.values():
        asked = {slot for node in each.nodes.values() if isinstance(node, Form) for slot in node.slots}
        assert asked == set(each.slots), each.id
    assert set(tasks.by_intent) <= set(tasks.phrases.intents)


def test_chinese_texts_are_chinese_and_english_ones_are_not() -> None:
    def texts(value: Any) -> Any:
        if isinstance(value, Text):
            yield value
        elif isinstance(value, dict):
            for each in value.values():
                yield from texts(each)
        elif hasattr(type(value), "model_fields"):
            for name in type(value).model_fields:
                yield from texts(getattr(value, name))

    found = list(texts(load_tasks()))
    assert len(found) > 150
    for text in found:
        assert any("\u4e00" <= char <= "\u9fff" for char in text.zh), text
        assert not any("\u4e00" <= char <= "\u9fff" for char in text.en), text


def test_every_way_on_is_known() -> None:
    nodes = load_tasks().graphs["block_card"].nodes
    assert dict(targets(nodes["sure"])) == {"yes": "block", "no": "kept", "gave_up": "help"}
    assert dict(targets(nodes["block"]))["errors.timeout"] == "unsure"


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ({"b": END}, "start names one of the nodes (b), not 'a'"),
        ({"a": {"do": "say", "text": TEXT, "then": "z"}}, "nodes.a.then names one of the nodes (a), not 'z'"),
        ({"a": {"do": "say", "text": TEXT}}, "one.toml: nodes.a.say.then: not a task graph: expected Field required."),
        ({"a": {"do": "dance"}}, "one.toml: nodes.a: not a task graph"),
        ({"a": END, "b": END}, "every node can be reached from 'a', but b cannot"),
        (
            {"a": {"do": "form", "slots": ["pin"], "then": "b", "gave_up": "b"}, "b": END},
            "nodes.a.slots has slots of this task (card), not 'pin'",
        ),
        ({"a": {"do": "say", "text": {"en": "{card}", "zh": "x"}, "then": "a"}}, "the same {placeholders} in English"),
        (
            {"a": {"do": "say", "text": {"en": "{rate}", "zh": "{rate}"}, "then": "b"}, "b": END},
            "one.toml: nodes.a: an unknown value: got rate; name a slot of the task or an output of an operation",
        ),
        (
            {"a": {"do": "say", "text": {"en": "{card.x}", "zh": "{card.x}"}, "then": "b"}, "b": END},
            "nodes.a: an unknown value: got card.x",
        ),
        (
            {"a": {"do": "call", "operation": "rob", "ok": "b", "errors": {}}, "b": END},
            "one.toml: nodes.a: no such operation: got rob, expected one of start_verification, verify_code",
        ),
        (
            {"a": {"do": "call", "operation": "block_card", "ok": "b", "errors": {}}, "b": END},
            "nodes.a: not the arguments of the operation: got none, expected card",
        ),
        (
            {"a": {"do": "call", "operation": "balance", "ok": "b", "errors": {"tired": "b"}}, "b": END},
            "nodes.a: no such error of the operation: got tired, expected some of no_account, timeout",
        ),
    ],
)
def test_what_a_graph_refers_to_must_be_there(nodes: dict[str, Any], said: str) -> None:
    with pytest.raises(GraphError) as error:
        load(**nodes)
    assert said in str(error.value)
    assert error.value.exit_code == 2


def test_a_file_that_is_no_toml(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text("id = ", encoding="utf-8")
    with pytest.raises(GraphError, match=r"^one\.toml: not TOML"):
        load_tasks(tmp_path)


def test_a_folder_without_what_the_engine_needs(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="no such folder of task graphs"):
        load_tasks(tmp_path / "none")
    for name in ("phrases", "identity", "faq"):
        (tmp_path / f"{name}.toml").write_bytes((FOLDER / f"{name}.toml").read_bytes())
    with pytest.raises(GraphError, match=r"a file is missing: expected operations\.toml"):
        load_tasks(tmp_path)
    (tmp_path / "operations.toml").write_bytes((FOLDER / "operations.toml").read_bytes())
    with pytest.raises(GraphError, match=r"a task is missing that the engine needs: expected handoff\.toml"):
        load_tasks(tmp_path)


def test_two_tasks_with_one_intent() -> None:
    with pytest.raises(GraphError, match="two tasks have the same intent: got card_block"):
        load_tasks(more={"one": graph(a=END) | {"intents": ["card_block"]}})
