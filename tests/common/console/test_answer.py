from __future__ import annotations

import re
from base64 import b64encode
from typing import Any

from pydantic import BaseModel, Field, create_model
from workshop import Inspected, Interval, Plan, Priced

from common.console.answer import answer_html
from common.console.ask import Reply
from common.console.words import speaker

EVIL = '<img src=x onerror="alert(1)">'
SAY = speaker("en")


def schema(kind: Any) -> dict[str, Any]:
    return kind.model_json_schema(mode="serialization")


def shown(body: Any, kind: Any, headers: dict[str, str] | None = None, **more: Any) -> str:
    return answer_html(Reply(200, headers or {}, body), schema(kind), SAY, **more)


def test_a_decision_stands_first_and_probabilities_are_bars() -> None:
    body = {"decision": "defect", "probabilities": {"good": 0.25, "defect": 0.75}, "defects": ""}
    html = shown(body, Inspected)
    assert re.search(r'esp-decision"><span>decision</span><b>defect</b>', html)
    assert html.index("75.0%") < html.index("25.0%")


def test_a_map_of_defects_lies_over_the_picture_that_was_sent() -> None:
    body = {"decision": "good", "probabilities": {}, "defects": b64encode(b"png").decode()}
    html = shown(body, Inspected, picture="data:image/png;base64,AAAA")
    assert html.index("data:image/png;base64,AAAA") < html.index("data:image/png;base64,cG5n")
    assert 'type="range"' in html
    assert "range" not in shown(body, Inspected)


def test_a_map_that_may_be_missing_is_a_picture_all_the_same() -> None:
    media = {"contentEncoding": "base64", "contentMediaType": "image/png"}
    kind = create_model("Seen", heat_map=(str | None, Field(json_schema_extra=media)))
    assert "data:image/png;base64,cG5n" in shown({"heat_map": b64encode(b"png").decode()}, kind)
    assert "data:" not in shown({"heat_map": None}, kind)


def test_a_plan_is_a_gantt_chart() -> None:
    rows = [{"machine": f"M{i % 2}", "job": f"J{i}", "start": i, "end": i + 2} for i in range(4)]
    html = shown({"makespan": 5, "plan": rows}, Plan)
    assert html.count("<rect") == 4
    assert len(set(re.findall(r' y="(\d+)" width', html))) == 2
    assert len(set(re.findall(r'fill="(#\w+)"', html))) == 4
    assert "<b>5</b>" in html


def test_a_plan_that_is_none_breaks_nothing() -> None:
    for plan in ([], [1], [{"start": "a", "end": None}], [{"start": 1, "end": 1}], None, "x"):
        assert "esp-answer" in shown({"makespan": 0, "plan": plan}, Plan)


def test_everything_else_is_pairs_and_tables() -> None:
    body = {"price": 2.0, "note": None, "reasons": [{"field": "a", "label": "A", "points": -1.5}], "extra": {"x": True}}
    html = shown(body, Priced)
    assert "<th>label</th>" in html
    assert "<th>field</th>" not in html
    assert "<td>-1.5</td>" in html
    assert "<th>x</th><td>yes</td>" in html


def test_a_table_in_a_table_is_one() -> None:
    body = {"also": [{"finding": "a", "differential": [{"finding": EVIL, "probability": 0.25}]}]}
    html = shown(body, create_model("Several", also=(list[Any], ...)))
    assert html.count("<table>") == 2
    assert "<td>0.25</td>" in html
    assert EVIL not in html


def test_a_model_of_simulated_data_is_called_so_and_another_model_is_told() -> None:
    warning = "Trained on simulated data"
    assert warning not in shown({"price": 1.0}, Priced)
    assert warning in shown({"price": 1.0, "simulated": True}, Priced)
    assert warning in shown({"price": 1.0}, Priced, {"x-espalier-simulated": "true"})
    assert "Another model" in shown({"price": 1.0}, Priced, {"x-model-version": "b"}, version="a")
    assert "Another model" not in shown({"price": 1.0}, Priced, {"x-model-version": "a"}, version="a")


def test_nothing_from_a_model_or_a_header_becomes_markup() -> None:
    bodies: list[tuple[Any, Any]] = [
        ({"price": EVIL, EVIL: EVIL, "list": [EVIL], "rows": [{EVIL: EVIL}], "map": {EVIL: EVIL}}, Priced),
        ({"decision": EVIL, "probabilities": {EVIL: 0.5}, "defects": f'"{EVIL}'}, Inspected),
        ({"makespan": EVIL, "plan": [{"machine": EVIL, "job": EVIL, "start": 0, "end": 9}]}, Plan),
        (EVIL, Priced),
    ]
    for body, kind in bodies:
        html = shown(body, kind, {"x-decision-id": EVIL})
        assert "<img src=x" not in html
        assert '"alert' not in html
    refused = {"detail": EVIL, "errors": [{"field": EVIL, "got": EVIL, "expected": EVIL, "fix": EVIL}]}
    for refusal in (refused, EVIL, {}):
        assert "<img" not in answer_html(Reply(422, {}, refusal), {}, SAY)


def test_a_refusal_is_its_sentence_with_the_fields_named() -> None:
    body = {"detail": "age: not accepted.", "errors": [{"field": "age_in_years", "got": "1", "expected": "18"}]}
    say = speaker("en", None, {"age_in_years": "Age"})
    html = answer_html(Reply(422, {}, body), {}, say)
    assert "age: not accepted." in html
    assert "<td>Age</td><td>1</td><td>18 </td>" in html
    assert "esp-decision" not in html


def test_a_plan_that_may_be_left_out_and_has_a_frame_is_drawn_too() -> None:
    class Framed(BaseModel):
        assignments: list[Interval]

    class Maybe(BaseModel):
        makespan: float
        schedule: Framed | None = Field(json_schema_extra={"x-espalier-view": "gantt"})

    rows = [{"machine": "M", "job": f"J{i}", "start": i, "end": i + 1} for i in range(3)]
    assert shown({"makespan": 3, "schedule": {"assignments": rows}}, Maybe).count("<rect") == 3
    assert "<rect" not in shown({"makespan": 3, "schedule": None}, Maybe)
