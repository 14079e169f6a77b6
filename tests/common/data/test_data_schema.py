from __future__ import annotations

import numpy as np
import pytest

from common.data.schema import check_schema
from common.data.table import labels, read_table
from common.errors import SchemaError


def read(card, tmp_path, content: bytes):
    path = tmp_path / "people.csv"
    path.write_bytes(content)
    return read_table(card, {"people.csv": path})


def test_a_good_table_passes(people_card, content, tmp_path):
    frame = read(people_card, tmp_path, content)
    check_schema(frame, people_card)
    assert frame["age"].dtype == np.float64
    assert np.isnan(frame["age"][1])
    assert labels(frame, people_card).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (b"30", b"17", "people: age: a bad cell in row 0: got '17', expected a number from 18 up to 120 or nothing"),
        (b"30", b"old", "people: age: a bad cell in row 0: got 'old'"),
        (b"30", b"inf", "people: age: a bad cell in row 0: got 'inf'"),
        (b"blue", b"green", "people: colour: a bad cell in row 1: got 'green', expected one of red, blue"),
        (b"blue", b"", "people: colour: a bad cell in row 1: got nothing, expected one of red, blue"),
        (b"red,0", b"red,3", "people: bad: a bad cell in row 0: got '3', expected one of 0, 1"),
        (b"\n2,", b"\n1,", "people: id: 2 bad cells, the first in row 0: got '1', expected a value of its own"),
        (b"age", b"aged", "people: age: missing column"),
        (b"bad\n1,30,red,0\n2,,blue,1", b"bad,x\n1,30,red,0,1\n2,,blue,1,1", "unknown column: got x"),
    ],
)
def test_the_first_wrong_cell_is_named(people_card, content, tmp_path, old, new, sentence):
    with pytest.raises(SchemaError) as error:
        check_schema(read(people_card, tmp_path, content.replace(old, new)), people_card)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_undocumented_codes_pass_only_when_the_card_lists_them(applicants):
    frame, card = applicants
    frame.loc[7, "job"] = 9
    with pytest.raises(SchemaError, match="job: a bad cell in row 7: got '9', expected one of 1, 2, 3"):
        check_schema(frame, card)
    job = card.column("job").model_copy(update={"undocumented": (9,)})
    check_schema(frame, card.model_copy(update={"columns": (card.columns[0], card.columns[1], job, card.columns[3])}))


@pytest.mark.parametrize("content", [b"", b'id,age\n1,"2\n', b"id\n1\n2,3,4\n", b"id\n\xff\n"])
def test_a_file_that_is_no_table_is_one_sentence(people_card, tmp_path, content):
    with pytest.raises(SchemaError, match="not a csv table") as error:
        read(people_card, tmp_path, content)
    assert "\n" not in str(error.value)


def test_an_unknown_label_is_named(people_card, content, tmp_path):
    with pytest.raises(SchemaError, match="unknown label: got '2', expected one of 0, 1"):
        labels(read(people_card, tmp_path, content.replace(b"red,0", b"red,2")), people_card)
