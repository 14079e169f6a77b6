"""A name that stands twice in one object of a body is refused, whatever route reads it."""

from __future__ import annotations

import pytest
from raw_service import BATCH, INFER, PREDICT, Service, refused

TWICE = {
    "plain": (PREDICT, b'{"age": 20, "age": 30}'),
    "escaped": (PREDICT, rb'{"age": 20, "\u0061ge": 30}'),
    "with blanks": (PREDICT, b'{"age" : 20, "age"\n: 30}'),
    "beside a colon in a text": (PREDICT, b'{"age": 20, "age": 20, "note": "a:b"}'),
    "in the second row": (BATCH, b'{"rows": [{"age": 20}, {"age": 20, "age": 30}]}'),
    "the rows": (BATCH, b'{"rows": [{"age": 20}], "rows": [{"age": 30}]}'),
    "tensors": (
        INFER,
        b'{"id": "a", "inputs": [{"name": "age", "datatype": "INT64", "shape": [1], "data": [2]}], "id": "b"}',
    ),
    "a tensor's data": (
        INFER,
        b'{"inputs": [{"name": "age", "datatype": "INT64", "shape": [1], "data": [20], "data": [30]}]}',
    ),
    "feedback": ("/v1/feedback", b'{"labels": [{"decision": "0193f1a2b3c40a1b2c3d4e5f", "label": 1, "label": 0}]}'),
}


@pytest.mark.parametrize("name", TWICE)
def test_a_name_given_twice_is_refused(service: Service, name: str) -> None:
    path, body = TWICE[name]
    [answer] = service.raw(service.post(body, path))
    assert "twice" in refused(service, answer, 400)


def test_a_name_in_two_objects_or_a_colon_in_a_text_is_nothing_bad(service: Service) -> None:
    for path, body in (
        (PREDICT, b'{"age": 20, "note": "at 12:30, \\"age\\": 20"}'),
        (BATCH, b'{"rows": [{"age": 20}, {"age": 20, "note": ":::"}]}'),
    ):
        assert service.raw(service.post(body, path))[0][0] == 200
