from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

import common.table_files
from common.errors import DataError, SchemaError, UsageError
from common.tables import TableField, score_file

HEADER = "id,x,kind,code\n"
FORMATS = ["csv", "csv.gz", "parquet", "jsonl"]


class Halver:
    """Halves `x`; rounding errors of sums over rows would show."""

    table_fields = (
        TableField("x", "number", minimum=-1000, maximum=1000, optional=True),
        TableField("kind", "category", levels=("plain", "fancy"), optional=True),
        TableField("code", "category", levels=(1, 2)),
    )

    def predict_table(self, columns: Any) -> pa.Table:
        codes, levels = columns["code"]
        factor = np.array(levels, dtype=float)[codes]
        return pa.table({"half": np.sin(columns["x"]) * factor / 3})


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common.table_files, "BLOCK_BYTES", 64)
    monkeypatch.setattr(common.table_files, "BATCH_ROWS", 3)


def score(source: Path, target: Path) -> int:
    return score_file(Halver(), source, target, lambda rows, share: None)


def rows_of(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        {
            "id": f'nr {i}, "it\'s"\nline two',
            "x": None if i % 7 == 3 else float(rng.normal()),
            "kind": [None, "plain", "fancy"][i % 3],
            "code": 1 + i % 2,
        }
        for i in range(count)
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    table = pa.Table.from_pylist(rows)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with pa.output_stream(path) as sink:  # a name that ends in .gz is compressed
            pa_csv.write_csv(table, sink)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with pa.input_stream(path) as source:
        return pa_csv.read_csv(source, parse_options=pa_csv.ParseOptions(newlines_in_values=True)).to_pylist()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kind_in", FORMATS)
@pytest.mark.parametrize("kind_out", FORMATS)
def test_every_format_gives_the_bits_of_single_rows_and_carries_the_rest(
    tmp_path: Path, kind_in: str, kind_out: str
) -> None:
    """Blocks of a row or two: quoted line breaks and batch edges fall everywhere."""
    rows = rows_of(50)
    source, target = write(tmp_path / f"in.{kind_in}", rows), tmp_path / f"out.{kind_out}"
    assert score(source, target) == 50
    alone = tmp_path / "one.jsonl"
    for row, scored in zip(rows, read(target), strict=True):
        score(write(tmp_path / "alone.jsonl", [row]), alone)
        [expected] = read(alone)
        assert list(scored) == ["id", "half"]
        assert scored["id"] == row["id"]
        assert scored["half"] == expected["half"] or (scored["half"] is None or math.isnan(scored["half"]))
        assert (row["x"] is None) == (scored["half"] is None or math.isnan(scored["half"]))


@pytest.mark.usefixtures("small_blocks")
def test_progress_counts_rows_and_ends_at_the_whole_file(tmp_path: Path) -> None:
    seen: list[tuple[int, float]] = []
    source = write(tmp_path / "in.csv", rows_of(40))
    score_file(Halver(), source, tmp_path / "out.csv", lambda rows, share: seen.append((rows, share)))
    assert seen == sorted(seen)
    assert len(seen) > 10
    assert seen[-1] == (40, 1.0)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 7])
def test_no_row_is_lost_at_a_batch_edge(tmp_path: Path, count: int) -> None:
    for kind in FORMATS:
        source = write(tmp_path / f"in.{kind}", rows_of(count))
        assert score(source, tmp_path / "out.jsonl") == count
        assert [row["id"] for row in read(tmp_path / "out.jsonl")] == [row["id"] for row in rows_of(count)]


def test_a_file_can_be_scored_in_place_and_an_old_result_is_replaced(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text(HEADER + "7,0,plain,1\n")
    score(source, source)
    assert source.read_text() == '"id","half"\n"7",0\n'


def test_a_spreadsheet_s_byte_order_mark_belongs_to_no_column(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_bytes(b"\xef\xbb\xbfx,kind,code\r\n0,plain,1\r\n")
    assert score(source, tmp_path / "out.jsonl") == 1
    assert read(tmp_path / "out.jsonl") == [{"half": 0.0}]


def test_json_lines_may_leave_out_what_is_optional_and_write_whole_numbers_as_they_like(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"code": 1.0, "x": 0}\n\n{"kind": null, "code": 2, "x": 0.0}')
    assert score(source, tmp_path / "out.jsonl") == 2


GOOD = b"1,0,plain,1\n"
FINE = b'{"x": 0, "kind": "plain", "code": 1}\n'
# One wrong line behind 20 good ones, and the sentence behind "row 21".
BAD_CSV = {
    b"1,half,plain,1": "column 'x', row 21: wrong type: got 'half', expected a number.",
    b"1,0,plain,1.5": "column 'code', row 21: wrong type: got '1.5', expected a whole number.",
    b"1,1001,plain,1": "column 'x', row 21: out of range: got 1001, expected a number from -1000 to 1000.",
    b"1,-inf,plain,1": "column 'x', row 21: out of range: got -inf, expected a number from -1000 to 1000.",
    b"1,0,odd,1": "column 'kind', row 21: unknown category: got 'odd', expected one of 'plain', 'fancy'.",
    b"1,0,plain,3": "column 'code', row 21: unknown category: got 3, expected one of 1, 2.",
    b"1,0,plain,": "column 'code', row 21: an empty cell: expected a value; fill it or drop the row.",
    b"1,0,plain": "row 21: wrong number of cells: got 3, expected 4, as in the header.",
    b"1,0,plain,1,1": "row 21: wrong number of cells: got 5, expected 4, as in the header.",
}
BAD_JSONL = {
    b'{"x": "half", "code": 1}': "column 'x', row 21: wrong type: got a string, expected a number.",
    b'{"x": 0, "code": true}': "column 'code', row 21: wrong type: got a boolean, expected a whole number.",
    b'{"x": 0, "code": 1, "kind": 3}': "column 'kind', row 21: wrong type: got a number, expected a text.",
    b'{"x": 0}': "column 'code', row 21: an empty cell: expected a value; fill it or drop the row.",
    b'{"x": 0, "code":': "row 21: not a JSON object on one line (",
    b"[0, 1]": "row 21: not a JSON object on one line (",
    b'{"x": 0, "code": 1, "kind": "\xe9"}': "row 21: not text in UTF-8; save it as UTF-8.",
}


@pytest.mark.parametrize("blocks", ["one", "many"])
@pytest.mark.parametrize(
    ("kind", "line", "sentence"),
    [("csv", *pair) for pair in BAD_CSV.items()] + [("jsonl", *pair) for pair in BAD_JSONL.items()],
)
def test_a_wrong_cell_is_named_by_column_and_row_and_nothing_is_written(
    tmp_path: Path, kind: str, line: bytes, sentence: str, blocks: str, request: pytest.FixtureRequest
) -> None:
    if blocks == "many":
        request.getfixturevalue("small_blocks")
    source = tmp_path / f"in.{kind}"
    source.write_bytes((HEADER.encode() + GOOD * 20 if kind == "csv" else FINE * 20) + line + b"\n")
    for target in ("out.csv.gz", "new/out.parquet"):
        with pytest.raises(SchemaError) as error:
            score(source, tmp_path / target)
        assert str(error.value).startswith(sentence)
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [source.name]


UNREADABLE = {
    "empty csv": ("in.csv", b"", "the file is empty: expected a header line."),
    "only a header": ("in.csv", HEADER.encode(), "no rows to score: got an empty table, expected at least one row."),
    "empty jsonl": ("in.jsonl", b"", "no rows to score: got an empty table, expected at least one row."),
    "empty parquet": ("in.parquet", b"", "not readable as parquet ("),
    "no parquet": ("in.parquet", HEADER.encode(), "not readable as parquet ("),
    "no gzip": ("in.csv.gz", HEADER.encode() + GOOD, "not readable as csv ("),
    "truncated gzip": ("in.csv.gz", gzip.compress(np.random.default_rng(0).bytes(99).hex().encode() * 50)[:90], "not "),
    "latin-1": ("in.csv", "id,x,kind,code,café\n".encode("latin-1"), "not text in UTF-8; save it as UTF-8 CSV."),
    "missing column": ("in.csv", b"id,x,kind\n1,0,plain\n", "columns are missing: got 3 columns without code."),
    "missing columns": ("in.csv", b"id\n1\n", "columns are missing: got 1 columns without x, kind, code."),
    "double column": ("in.csv", b"x,kind,code,x\n0,plain,1,0\n", "columns stand twice: got x; rename or drop them."),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_is_no_such_table_is_named(tmp_path: Path, name: str) -> None:
    file, content, sentence = UNREADABLE[name]
    source = tmp_path / file
    source.write_bytes(content)
    with pytest.raises(SchemaError) as error:
        score(source, tmp_path / "out.csv")
    assert str(error.value).startswith(f"{source}: {sentence}")
    assert [path.name for path in tmp_path.iterdir()] == [file]


def test_latin_1_after_many_good_rows_is_named_by_column_and_row(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(HEADER.encode() + GOOD * 10_000 + "café,0,plain,1\n".encode("latin-1"))
    with pytest.raises(SchemaError, match=r"column 'id', row 10001: not text in UTF-8; save it as UTF-8 CSV\."):
        score(source, tmp_path / "out.csv")


def test_a_wrong_type_in_parquet_is_named(tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet", [{"x": "half", "kind": "plain", "code": 1}])
    with pytest.raises(SchemaError, match="column 'x': wrong type: got string, expected a number"):
        score(source, tmp_path / "out.csv")


def test_a_failure_keeps_the_earlier_result(tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    target.write_text("of yesterday")
    source.write_bytes(HEADER.encode() + GOOD + b"1,half,plain,1\n")
    with pytest.raises(SchemaError):
        score(source, target)
    assert target.read_text() == "of yesterday"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_carried_column_that_the_model_writes_too_is_refused(tmp_path: Path) -> None:
    """A file scored already: neither the old nor the new scores may be lost."""
    source = tmp_path / "in.csv"
    source.write_text("half,x,kind,code\n3,0,plain,1\n")
    with pytest.raises(SchemaError, match="column 'half': the model writes a column of this name; rename it"):
        score(source, tmp_path / "out.csv")


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("late", "sentence"),
    [
        ({"note": "word"}, "column 'note': the type changes: got string, expected int64, as in the first rows"),
        ({"other": 1}, "column 'other': the first rows lack this column"),
    ],
)
def test_json_lines_whose_carried_columns_change_fit_no_table_but_json_lines(
    tmp_path: Path, late: dict[str, Any], sentence: str
) -> None:
    base = {"x": 0.0, "kind": "plain", "code": 1}
    source = write(tmp_path / "in.jsonl", [base | {"note": 1}] * 10)
    with source.open("a") as file:
        file.write(json.dumps(base) + "\n" + json.dumps(base | late) + "\n")
    for target in ("out.csv", "out.parquet"):
        with pytest.raises(SchemaError, match=f"{sentence}.*; make OUT a .jsonl file"):
            score(source, tmp_path / target)
    assert score(source, tmp_path / "out.jsonl") == 12
    scored = read(tmp_path / "out.jsonl")
    assert scored[0] == {"note": 1, "half": 0.0}
    assert late.items() <= scored[-1].items()


def test_unknown_formats_and_absent_files_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(HEADER.encode() + GOOD)
    (tmp_path / "in.xlsx").write_bytes(b"PK")
    expected = r"unknown file format: expected \.csv, \.csv\.gz, \.parquet or \.jsonl"
    with pytest.raises(UsageError, match=rf"out\.txt: {expected}"):
        score(source, tmp_path / "out.txt")
    with pytest.raises(UsageError, match=rf"in\.xlsx: {expected}"):
        score(tmp_path / "in.xlsx", tmp_path / "new" / "out.csv")
    with pytest.raises(DataError, match=r"absent\.csv: no such file: expected a \.csv"):
        score(tmp_path / "absent.csv", tmp_path / "new" / "out.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "in.xlsx"]


def test_a_predictor_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="object answers requests only; use its service"):
        score_file(object(), tmp_path / "in.csv", tmp_path / "out.csv", lambda rows, share: None)
