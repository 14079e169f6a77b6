from __future__ import annotations

from pathlib import Path

import pytest

from common.audit.masking import Mask, secret_of
from common.errors import UsageError


def test_sensitive_values_are_keyed_hashes_and_equal_ones_stay_equal() -> None:
    mask, other = Mask(b"one secret"), Mask(b"another")
    row = {"age": 30, "sex": "female", "city": None}
    found = mask.inputs(row, {"sex", "city"})
    assert (found["age"], found["city"]) == (30, None)
    assert found["sex"].startswith("#")
    assert found == mask.inputs(row, {"sex", "city"})
    assert found["sex"] != mask.inputs({"sex": "male"}, {"sex"})["sex"]
    assert found["sex"] != other.inputs(row, {"sex"})["sex"]
    assert mask.inputs(row, ()) == row


def test_reasons_do_not_show_what_inputs_hide() -> None:
    answer = {"decision": "no", "reasons": [{"field": "sex", "value": "female"}, {"field": "age", "value": 30}]}
    hidden, shown = Mask(b"secret").answer(answer, {"sex"})["reasons"]
    assert hidden["value"] == Mask(b"secret").inputs({"sex": "female"}, {"sex"})["sex"]
    assert shown["value"] == 30


def test_hidden_fields_of_answers_are_hashes_wherever_they_stand() -> None:
    answer = {"text": "Mary", "n": 1, "parts": [{"text": "Smith", "start": 3, "more": {"text": None, "words": ["a"]}}]}
    mask = Mask(b"secret")
    found = mask.answer(answer, (), {"text", "words"})
    (part,) = found["parts"]
    assert found["text"] == mask.inputs({"text": "Mary"}, {"text"})["text"] != part["text"]
    assert (found["n"], part["start"], part["more"]["text"]) == (1, 3, None)
    assert part["more"]["words"].startswith("#")
    assert mask.answer(answer, ()) == answer


def test_everything_can_be_hashed() -> None:
    mask = Mask(b"secret", everything=True)
    assert all(str(value).startswith("#") for value in mask.inputs({"age": 30, "city": "x"}, ()).values())
    assert mask.answer({"reasons": [{"field": "age", "value": 30}]}, ())["reasons"][0]["value"].startswith("#")


def test_the_secret_of_a_machine_is_made_once_and_private(tmp_path: Path) -> None:
    secret = secret_of("", tmp_path)
    assert len(secret) == 32
    assert secret_of("", tmp_path) == secret
    (tmp_path / "audit.key").chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        secret_of("", tmp_path)
    assert secret_of("x" * 16, tmp_path) == b"x" * 16
    with pytest.raises(UsageError, match="ESPALIER_AUDIT_SECRET"):
        secret_of("short", tmp_path)
