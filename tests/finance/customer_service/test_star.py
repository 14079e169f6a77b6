"""STAR's dialogues: moments read, charts followed, and a classifier that learns."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from finance.customer_service.star import Learnt, Point, follow, points

CHART = {
    "hello": "ask_name",
    "ask_name": "bank_ask_account_number",
    "bank_ask_account_number": "bank_ask_pin",
    "bank_ask_pin": "query",
    "info_missing": "bank_ask_dob",
    "bank_ask_dob": "bank_ask_mothers_maiden_name",
    "bank_ask_mothers_maiden_name": "bank_ask_childhood_pets_name",
    "bank_ask_childhood_pets_name": "query",
    "info_missing2": "bank_inform_cannot_authenticate",
    "query_failure": "bank_inform_cannot_authenticate",
    "query_success": "bank_inform_balance",
    "bank_inform_balance": "anything_else",
}


def moment(*done: str, said: str = "", bank: str = "", action: str = "") -> Point:
    return Point("d", "bank_balance", True, done, said, bank, action)


@pytest.mark.parametrize(
    ("point", "action"),
    [
        (moment(), "hello"),
        (moment(said="Hi there!"), "hello"),
        (moment(said="What is my balance?"), "ask_name"),
        (moment("ask_name", said="Jane"), "bank_ask_account_number"),
        (moment("bank_ask_account_number", "ask_name", said="Jane"), "bank_ask_pin"),
        (moment("bank_ask_pin", said="1234"), "query"),
        (moment("bank_ask_pin", said="I forgot it"), "bank_ask_dob"),
        (moment("bank_ask_dob", said="I don't remember"), "bank_inform_cannot_authenticate"),
        (moment("query", bank="success"), "bank_inform_balance"),
        (moment("query", bank="failure"), "bank_inform_cannot_authenticate"),
        (moment("bank_inform_cannot_authenticate", said="what now?"), "anything_else"),
        (moment("bank_inform_cannot_authenticate", said="ok thanks"), "goodbye_1"),
        (moment("anything_else", said="no"), "goodbye_1"),
        (moment("bank_ask_pin", "out_of_scope", said="1234"), "query"),
    ],
)
def test_the_chart_is_followed(point: Point, action: str) -> None:
    assert follow(CHART, point) == action


def test_moments_of_a_published_dialogue(mirror_of: Callable[[str], Path]) -> None:
    folder = mirror_of("service-star-bank") / "service-star-bank"
    found = points(json.loads((folder / "dialogues" / "1000.json").read_text(encoding="utf-8")), "1000")
    assert [point.action for point in found] == [
        "ask_name",
        "bank_ask_account_number",
        "bank_ask_pin",
        "bank_ask_dob",
        "bank_ask_fraud_details",
        "query",
        "bank_inform_fraud_report_submitted",
        "anything_else",
        "goodbye_1",
    ]
    assert found[3].said == "I forgot."
    assert [point.bank for point in found if point.bank] == ["success"]
    assert not found[0].happy
    for early, late in pairwise(found):
        assert late.done == (*early.done, early.action)


def test_a_moment_knows_nothing_of_what_comes_later() -> None:
    def event(agent: str, action: str, **more: Any) -> dict[str, Any]:
        return {"Agent": agent, "Action": action, **more}

    events = [
        event("User", "utter", Text="one"),
        event("Wizard", "pick_suggestion", ActionLabel="hello"),
        event("User", "utter", Text="two"),
        event("Wizard", "query"),
        event("KnowledgeBase", "return_item", Item={"Message": "no"}),
        event("Wizard", "pick_suggestion", ActionLabel="goodbye_1"),
    ]
    scenario = {"Happy": True, "WizardCapabilities": [{"Task": "bank_balance"}]}
    found = points({"Scenario": scenario, "Events": events}, "d")
    assert [(point.said, point.bank, point.action) for point in found] == [
        ("one", "", "hello"),
        ("two", "", "query"),
        ("", "failure", "goodbye_1"),
    ]


def test_the_classifier_learns_what_the_chart_does_not_say() -> None:
    train = [moment("ask_name", said=f"Jane, and my pin is 12{i}", action="query") for i in range(20)]
    train += [moment("ask_name", said=f"Jane number {i}", action="bank_ask_account_number") for i in range(20)]
    model = Learnt({"bank_balance": CHART}, 0).fit(train)
    some = [moment("ask_name", said="Bob, and my pin is 77"), moment("ask_name", said="Bob number 7")]
    assert model.predict(some) == ["query", "bank_ask_account_number"]
    assert [follow(CHART, point) for point in some] == ["bank_ask_account_number"] * 2
