"""A card drafted from a table of one's own: read by the rest of `common.data`, or one sentence and nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.data import fetch, load_card
from common.data.audit import audit
from common.data.draft import draft
from common.data.schema import check_schema
from common.data.table import labels, read_table
from common.errors import DataCorrupted, DataError, DatasetUnavailable, EspalierError, UsageError

HEADER = "Loan Ref;opened;gender;Age;income;flag;grade;owner;code;score;remark;outcome"
ROWS = [
    f"L{i};2025-{i % 12 + 1:02};{'FMX'[i % 3]};{20 + i % 50};{1000 + i * 7.5};{i % 2};{'' if i % 9 == 0 else i % 3};"
    f"{'true' if i % 2 else 'false'};{i % 3:03};{'' if i % 7 == 0 else 500 + i};note {i % 90};"
    f"{'bad' if i % 4 == 0 else 'good'}"
    for i in range(120)
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "My loans (2025).csv"
    path.write_text("\n".join([HEADER, *ROWS]) + "\n")
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting) -> Path:
    setting("HOME", tmp_path / "home")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def test_the_card_agrees_with_the_table_and_tells_what_can_be_seen(table: Path, project: Path) -> None:
    path = draft(table, project, target="outcome", positive="bad", time="opened")
    assert path == project / "datasets" / "my-loans-2025" / "card.toml"
    card = load_card("my-loans-2025")
    assert {column.name: column.kind for column in card.columns} == {
        "Loan Ref": "id",
        "opened": "other",
        "gender": "category",
        "Age": "number",
        "income": "number",
        "flag": "category",
        "grade": "number",
        "owner": "category",
        "code": "number",
        "score": "number",
        "remark": "other",
        "outcome": "target",
    }
    assert (card.format, card.rows, card.target, card.positive, card.time) == (
        "semicolon",
        120,
        "outcome",
        "bad",
        "opened",
    )
    assert card.label_counts == {"bad": 30, "good": 90}
    assert card.sensitive == ("gender", "Age")
    assert [c.name for c in card.columns if c.missing] == ["grade", "score"]
    assert card.column("owner").values == {"false": "false", "true": "true"}
    assert card.column("gender").facts == {"sex": True}
    assert card.column("Age").facts == {"age": True}
    assert card.column("income").minimum == 0
    frame = read_table(card, fetch(card))
    check_schema(frame, card)
    audit(frame, card).raise_on_error()
    assert labels(frame, card).sum() == 30
    assert set(frame["owner"]) == {"false", "true"}


def test_codes_that_a_person_makes_categories_are_read_as_the_card_has_them(table: Path, project: Path) -> None:
    """Whole numbers beside blanks, and numbers with leading noughts."""
    path = draft(table, project, id="loans", target="outcome", positive="bad")
    text = path.read_text()
    for name, values in (("grade", "[0, 1, 2]"), ("code", '["000", "001", "002x"]')):
        start = text.index(f'name = "{name}"')
        text = text[:start] + text[start:].replace('kind = "number"', f'kind = "category"\nvalues = {values}', 1)
        text = text[:start] + text[start:].replace("minimum = 0\n", "", 1)
    path.write_text(text)
    card = load_card("loans")
    frame = read_table(card, fetch(card))
    assert sorted({value for value in frame["grade"] if value is not None}) == [0, 1, 2]
    assert all(isinstance(value, int) for value in frame["grade"].dropna())
    assert {"000", "001", "002"} == set(frame["code"])


def test_the_file_beside_the_card_is_found_and_checked(table: Path, project: Path) -> None:
    path = draft(table, project, id="loans", target="outcome", positive="bad")
    card = load_card("loans")
    assert fetch(card)[table.name].read_bytes() == table.read_bytes()
    fetch(card)[table.name].unlink()
    (path.parent / table.name).write_text("changed\n")
    with pytest.raises(DataCorrupted, match="loans"):
        fetch(card)
    (path.parent / table.name).unlink()
    with pytest.raises(DatasetUnavailable, match="or put the file at"):
        fetch(card)


@pytest.mark.parametrize(
    ("content", "options", "sentence"),
    [
        (None, {"target": "label"}, "--target names no column: got 'label', expected one of Loan Ref, opened"),
        (
            None,
            {"target": "outcome"},
            "two labels are needed: got bad (30), good (90); say by --positive which of the two",
        ),
        (None, {"target": "outcome", "positive": "worse"}, "which of the two means the event: bad or good"),
        (None, {"target": "gender", "positive": "F"}, "two labels are needed: got F (40), M (40), X (40)"),
        (None, {"target": "outcome", "positive": "bad", "time": "when"}, "--time names no column: got 'when'"),
        (None, {"target": "outcome", "positive": "bad", "id": "../up"}, "not an id for a data set: got '../up'"),
        (b"", {"target": "x"}, "the file is empty: expected a CSV file with a line of names"),
        (b"a,b\n", {"target": "b"}, "not a table with rows"),
        (b"only\n1\n", {"target": "only"}, "not a table with rows: expected a CSV file, separated by , or ;"),
        (b"a,b\n\xff\xfe,1\n", {"target": "b"}, "not text in UTF-8; save it as UTF-8"),
        (
            b"a,b\n1,x\n2,\n3,y\n",
            {"target": "b", "positive": "x"},
            "b, line 3: a row without a label; leave such rows out",
        ),
        (b"a,,b\n1,2,x\n2,3,y\n", {"target": "b", "positive": "x"}, "a column without a proper name: got 'Unnamed: 1'"),
    ],
)
def test_a_table_that_will_not_do_is_one_sentence_and_nothing_is_written(
    table: Path, project: Path, content: bytes | None, options: dict[str, str], sentence: str
) -> None:
    if content is not None:
        table.write_bytes(content)
    with pytest.raises(EspalierError) as refused:
        draft(table, project, **options)
    assert sentence in str(refused.value)
    assert not [path for path in project.rglob("*") if path.is_file()]


def test_nothing_that_is_there_is_overwritten(table: Path, project: Path) -> None:
    path = draft(table, project, id="loans", target="outcome", positive="bad")
    path.write_text("mine")
    with pytest.raises(UsageError, match="there is such a data set already"):
        draft(table, project, id="loans", target="outcome", positive="bad")
    assert path.read_text() == "mine"
    with pytest.raises(UsageError, match="no such file"):
        draft(table.with_name("absent.csv"), project, target="outcome")
    assert issubclass(DataError, EspalierError)
