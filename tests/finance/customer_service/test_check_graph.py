"""The model checker: ours are right, and every way to break one is found, with the way there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from finance.customer_service.check_graph import check, check_all, checked, main
from finance.customer_service.graph import FOLDER, GraphError, Tasks, load_tasks, tomllib


def raw(name: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def changed(name: str, change: Callable[[dict[str, Any]], Any]) -> Tasks:
    content = raw(name)
    change(content)
    return load_tasks(more={name: content})


def found(name: str, change: Callable[[dict[str, Any]], Any]) -> list[str]:
    return [finding.sentence() for finding in check(changed(name, change), name)]


def test_ours_hold() -> None:
    assert check_all(load_tasks()) == []


def test_private_data_before_identity() -> None:
    def skip(graph: dict[str, Any]) -> None:
        graph["start"] = "ask"
        del graph["nodes"]["identify"], graph["nodes"]["unknown"]

    assert found("balance", skip) == [
        "balance.toml: balance.ask: balance is private, and nobody has made sure who asks: the customer starts."
    ]


def test_going_on_although_identity_failed() -> None:
    sentences = found("transfer_status", lambda graph: graph["nodes"]["identify"].update(failed="which") or drop(graph))
    assert len(sentences) == 1
    assert "find_transfer is private, and nobody has made sure who asks" in sentences[0]
    assert "fails with" in sentences[0] or "nonsense" in sentences[0]


def drop(graph: dict[str, Any]) -> None:
    del graph["nodes"]["unknown"]


def test_a_change_without_a_yes() -> None:
    def hasty(graph: dict[str, Any]) -> None:
        graph["nodes"]["which"]["then"] = "block"
        del graph["nodes"]["sure"], graph["nodes"]["kept"], graph["nodes"]["cancelled"]

    (sentence,) = found("block_card", hasty)
    assert "block_card changes something, and the customer has not said yes" in sentence
    assert sentence.endswith("then the customer gives the card.")


def test_a_no_that_counts_as_yes() -> None:
    def deaf(graph: dict[str, Any]) -> None:
        graph["nodes"]["sure"]["no"] = "block"
        del graph["nodes"]["kept"], graph["nodes"]["cancelled"]

    (sentence,) = found("block_card", deaf)
    assert sentence.endswith("then the customer says no.")


@pytest.mark.parametrize("error", ["not_found", "too_high", "card_blocked", "timeout", "unavailable", "invalid"])
def test_an_error_that_nothing_handles(error: str) -> None:
    sentences = found("change_limit", lambda graph: graph["nodes"]["set"]["errors"].pop(error) and prune(graph))
    assert len(sentences) == 1
    assert f"change_limit.set: the error {error} of set_limit is not handled" in sentences[0]
    assert sentences[0].endswith(f"then the customer says yes, then set_limit fails with {error}.")


def prune(graph: dict[str, Any]) -> None:
    """Take out what nothing leads to any more."""
    while True:
        left = {graph["start"]}
        for node in graph["nodes"].values():
            left |= {
                value
                for key, value in node.items()
                if key not in ("do", "text", "reason", "outcome") and type(value) is str
            }
            left |= {*node.get("errors", {}).values(), *node.get("cases", {}).values()}
        if not (lost := graph["nodes"].keys() - left):
            return
        for name in lost:
            del graph["nodes"][name]


def test_a_dead_end() -> None:
    def trap(graph: dict[str, Any]) -> None:
        graph["nodes"]["ask"]["errors"]["unknown_currency"] = "trap"
        graph["nodes"]["trap"] = {
            "do": "confirm",
            "text": {"en": "Again?", "zh": "再来？"},
            "yes": "trap",
            "no": "trap",
            "gave_up": "trap",
        }
        prune(graph)

    sentences = found("exchange_rate", trap)
    assert (
        "exchange_rate.toml: a dead end at exchange_rate.trap: no answer leads to an end: the customer starts, then "
        "the customer gives the currency, then exchange_rate fails with unknown_currency." in sentences
    )
    assert any("nonsense is answered for ever at exchange_rate.trap" in sentence for sentence in sentences)


def test_a_slot_that_is_asked_for_for_ever() -> None:
    sentences = found("exchange_rate", lambda graph: graph["nodes"]["which"].update(gave_up="which"))
    assert [sentence.partition(": the customer")[0] for sentence in sentences] == [
        "exchange_rate.toml: nonsense is answered for ever at exchange_rate.which"
    ]


def test_round_and_round_without_the_customer() -> None:
    sentences = found("exchange_rate", lambda graph: graph["nodes"]["later"].update(then="ask"))
    assert sentences
    assert "it goes round and round without the customer" in sentences[0]


def test_a_value_that_is_not_known_on_every_way() -> None:
    def early(graph: dict[str, Any]) -> None:
        graph["nodes"]["later"]["text"] = {"en": "Not {rate}", "zh": "没有{rate}"}

    sentences = found("exchange_rate", early)
    assert sentences
    assert "exchange_rate.later: rate is not known here" in sentences[0]
    assert "exchange_rate fails with" in sentences[0]


def test_a_slot_used_before_it_is_asked_for() -> None:
    assert "currency is not known here" in found("exchange_rate", lambda graph: skip_form(graph))[0]


def skip_form(graph: dict[str, Any]) -> None:
    graph["start"] = "ask"


def test_a_case_that_nothing_expects_is_tried() -> None:
    def lost(graph: dict[str, Any]) -> None:
        graph["nodes"]["how"]["otherwise"] = "trap"
        graph["nodes"]["trap"] = {"do": "say", "text": {"en": "x", "zh": "x"}, "then": "trap"}

    (sentence,) = found("transfer_status", lost)
    assert "find_transfer succeeds with status anything_else" in sentence


def test_release_is_refused_with_the_first_finding() -> None:
    broken = changed("balance", lambda graph: graph["nodes"]["ask"]["errors"].pop("timeout"))
    with pytest.raises(
        GraphError, match=r"the model checker refuses it: balance\.toml: balance\.ask: the error timeout"
    ):
        checked(broken)


def test_the_command(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for path in FOLDER.glob("*.toml"):
        text = path.read_text(encoding="utf-8")
        if path.stem == "balance":
            text = text.replace(', invalid = "help" }', " }")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    assert main([str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert out.startswith("balance.toml: balance.ask: the error invalid of balance is not handled: the customer starts")
    assert out.endswith("9 tasks, 1 findings\n")
    assert main([str(tmp_path / "none")]) == 2
