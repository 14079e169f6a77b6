from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest
from workshop import Goods, Jobs, Part, Recording

from common.console.form import FormField, fields_of, to_form, to_request


def read(field: FormField, value: Any) -> bytes:
    return f"{field.name} of {value}".encode()


FIELDS = {field.name: field for field in fields_of(Goods.model_json_schema())}


def fill(**values: Any) -> dict[str, Any]:
    return to_request(list(FIELDS.values()), [values.get(name) for name in FIELDS], read)


def test_each_field_is_asked_for_in_its_own_way() -> None:
    kinds = {name: field.kind for name, field in FIELDS.items()}
    assert kinds == {
        "colour": "choice",
        "grade": "choice",
        "pieces": "slider",
        "weight": "number",
        "age": "number",
        "fresh": "yes_no",
        "note": "text",
        "tags": "json",
    }
    assert FIELDS["grade"].choices == (1, 2, 3)
    assert (FIELDS["grade"].nullable, FIELDS["colour"].nullable) == (True, False)
    assert FIELDS["weight"].label == "Weight <b>in</b> kg"
    assert FIELDS["weight"].bounds == "0 – 1000"
    assert FIELDS["age"].bounds == "≥ 0"


def test_media_are_known_by_the_words_of_json_schema() -> None:
    [picture, sensitivity] = fields_of(Part.model_json_schema())
    assert (picture.kind, picture.media, picture.label) == ("image", "image/png", "Picture of the part")
    assert sensitivity.kind == "slider"
    assert [field.kind for field in fields_of(Recording.model_json_schema())] == ["audio"]
    assert [field.kind for field in fields_of(Jobs.model_json_schema())] == ["json"]
    pdf = {
        "properties": {"scan": {"type": "string", "contentEncoding": "base64", "contentMediaType": "application/pdf"}}
    }
    assert [field.kind for field in fields_of(pdf)] == ["file"]


def test_what_is_empty_is_null_or_left_out_and_never_made_up() -> None:
    assert fill(colour="", weight="", age="", note="", grade="") == {"age": None, "note": None, "grade": None}


def test_values_go_out_with_the_type_of_the_field() -> None:
    sent = fill(colour="red", pieces=3.0, weight="1.5", age="30", note="7", tags='["a"]', fresh=True)
    assert sent == {
        "colour": "red",
        "pieces": 3,
        "weight": 1.5,
        "age": 30,
        "note": "7",
        "tags": ["a"],
        "fresh": True,
        "grade": None,
    }
    assert isinstance(sent["pieces"], int)
    Goods.model_validate(sent)


@pytest.mark.parametrize("typed", ["two years", "1e", "[", "１"])
def test_what_is_no_number_or_json_goes_out_as_it_is(typed: str) -> None:
    """The service then says what is wrong with it; pydantic's number in a text is refused there too."""
    assert fill(weight=typed)["weight"] == typed
    assert fill(tags=typed)["tags"] == typed


def test_uploads_go_out_as_base64() -> None:
    sent = to_request(fields_of(Part.model_json_schema()), [{"path": "x"}, 0.5], read)
    assert b64decode(sent["picture"]) == b"picture of {'path': 'x'}"
    assert to_request(fields_of(Part.model_json_schema()), [None, 0.5], read) == {"sensitivity": 0.5}


def test_an_example_fills_the_form_and_comes_back_the_same() -> None:
    example = {"colour": "green", "weight": 2.0, "age": 4, "note": None, "tags": ["x", "y"], "pieces": 1, "fresh": True}
    shown = to_form(list(FIELDS.values()), example)
    assert to_request(list(FIELDS.values()), shown, read) == {**example, "grade": None}


def test_bounds_that_say_nothing_are_not_shown() -> None:
    part = {"type": "integer", "minimum": 1, "maximum": 2**53}
    [field] = fields_of({"properties": {"n": part}, "required": ["n"]})
    assert (field.bounds, field.kind) == ("≥ 1", "number")
