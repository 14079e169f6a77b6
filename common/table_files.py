"""Tables in files of any size, batch by batch: CSV, Parquet and JSON lines, in and out.

Errors name the column and the row; rows are counted from 1 without the header.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from common.errors import DataError, SchemaError, UsageError

BLOCK_BYTES = 8 << 20  # about 40,000 rows of 20 columns: large enough for NumPy, small enough for a laptop
BATCH_ROWS = 65_536
FORMATS = ".csv, .csv.gz, .parquet or .jsonl"

Types = Mapping[str, pa.DataType]


@contextmanager
def open_table(source: Path, types: Types) -> Iterator[tuple[Iterator[pa.RecordBatch], Callable[[], float]]]:
    """Batches of a file, the columns of `types` present and cast, and the share of it read so far.

    Raises `DataError` when there is no such file, `UsageError` for an unknown format, and `SchemaError`
    while reading.
    """
    if not source.is_file():
        raise DataError("no such file", where=str(source), expected=f"a {FORMATS} file")
    kind = _format(source)
    size = max(source.stat().st_size, 1)
    with source.open("rb") as raw:
        share = lambda: min(raw.tell() / size, 1.0)  # noqa: E731 - a closure over the open file
        yield (
            _readable(kind, source, {"csv": _csv, "parquet": _parquet, "jsonl": _jsonl}[kind](source, raw, types)),
            share,
        )


def _readable(kind: str, source: Path, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Only what reading raises: an error of the model or of the target is not the source's."""
    try:
        yield from batches
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        reason = str(error).replace("\n", " ")[:200]
        raise SchemaError(f"not readable as {kind} ({reason})", where=str(source)) from None


def _parquet(source: Path, raw: Any, types: Types) -> Iterator[pa.RecordBatch]:
    file = pq.ParquetFile(raw)
    _check_names(source, file.schema_arrow.names, types)
    for batch in file.iter_batches(BATCH_ROWS):
        yield _cast(batch, types)


def _jsonl(source: Path, raw: Any, types: Types) -> Iterator[pa.RecordBatch]:
    """Whole lines in blocks of about `BLOCK_BYTES`; a key that a line leaves out is an empty cell."""
    rows = 0
    # Whole numbers are read as numbers first: 1.0 is one of them.
    schema = pa.schema([(name, pa.float64() if kind == pa.int64() else kind) for name, kind in types.items()])
    while block := raw.read(BLOCK_BYTES):
        block += raw.readline()
        try:
            block.decode()
            table = pa_json.read_json(
                pa.BufferReader(block),
                pa_json.ReadOptions(block_size=len(block) + 1, use_threads=False),
                pa_json.ParseOptions(explicit_schema=schema),
            )
        except UnicodeDecodeError as error:
            row = rows + block.count(b"\n", 0, error.start) + 1
            raise SchemaError("not text in UTF-8", where=f"row {row}", fix="save it as UTF-8") from None
        except pa.ArrowInvalid as error:
            raise _jsonl_error(error, types, rows) or error from None
        for batch in table.combine_chunks().to_batches():
            yield _cast(batch, types)
        rows += table.num_rows


def _csv(source: Path, raw: Any, types: Types) -> Iterator[pa.RecordBatch]:
    names = _header(source)
    _check_names(source, names, types)
    try:
        yield from pa_csv.open_csv(
            pa.CompressedInputStream(raw, "gzip") if source.suffix == ".gz" else raw,
            pa_csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
            pa_csv.ParseOptions(newlines_in_values=True),
            pa_csv.ConvertOptions(
                column_types={name: types.get(name, pa.string()) for name in names},
                null_values=["", "nan", "NaN"],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        raise _csv_error(error, names, types) or error from None


def _header(source: Path) -> list[str]:
    # utf-8-sig: Excel writes a byte order mark, which is no part of the first name.
    opened = gzip.open if source.suffix == ".gz" else open
    with opened(source, "rt", encoding="utf-8-sig") as file:
        try:
            return next(csv.reader(file))
        except StopIteration:
            raise SchemaError("the file is empty", where=str(source), expected="a header line") from None
        except UnicodeDecodeError:
            raise SchemaError("not text in UTF-8", where=str(source), fix="save it as UTF-8 CSV") from None


def _check_names(source: Path, names: Sequence[str], types: Types) -> None:
    missing = [name for name in types if name not in names]
    if missing:
        some = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise SchemaError("columns are missing", where=str(source), got=f"{len(names)} columns without {some}")
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise SchemaError("columns stand twice", where=str(source), got=", ".join(twice), fix="rename or drop them")


def _cast(batch: pa.RecordBatch, types: Types) -> pa.RecordBatch:
    columns = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            columns.append(pc.cast(column, types[name]) if name in types else column)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            where, expected = f"column {name!r}", _spoken(types[name])
            raise SchemaError("wrong type", where=where, got=str(column.type), expected=expected) from None
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _csv_error(error: Exception, names: Sequence[str], types: Types) -> SchemaError | None:
    """What Arrow says, with the column's name instead of its number, and rows without the header."""
    if found := re.search(r"column #(\d+): Row #(\d+): .*: invalid (?:value '(.*)')?", str(error), re.DOTALL):
        name, value = names[int(found[1])], found[3]
        where = f"column {name!r}, row {int(found[2]) - 1}"
        if value is None:
            return SchemaError("not text in UTF-8", where=where, fix="save it as UTF-8 CSV")
        return SchemaError("wrong type", where=where, got=repr(value[:40]), expected=_spoken(types[name]))
    if found := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error)):
        expected = f"{found[2]}, as in the header"
        return SchemaError("wrong number of cells", where=f"row {int(found[1]) - 1}", got=found[3], expected=expected)
    return None


def _jsonl_error(error: Exception, types: Types, rows_before: int) -> SchemaError | None:
    found = re.search(r"JSON parse error: (?:Column\(/(.*)\) changed from .* to (\w+)|(.*)) in row (\d+)$", str(error))
    if not found:
        return None
    name, got, reason, row = found.groups()
    where = f"row {rows_before + int(row) + 1}"
    if name is None:
        return SchemaError(f"not a JSON object on one line ({reason.rstrip('.')})", where=where)
    expected = _spoken(types[name]) if name in types else "the type of the rows before"
    return SchemaError("wrong type", where=f"column {name!r}, {where}", got=f"a {got}", expected=expected)


def _spoken(kind: pa.DataType) -> str:
    return {pa.float64(): "a number", pa.int64(): "a whole number"}.get(kind, "a text")


@contextmanager
def new_table(part: Path, target: Path) -> Iterator[Callable[[pa.Table], None]]:
    """A function that writes tables to `part`, one after the other, in the format that the name of `target` says."""
    kind = _format(target)
    writer, schema = None, None
    with ExitStack() as stack:
        sink = stack.enter_context(pa.OSFile(str(part), "wb"))
        if target.suffix == ".gz":
            sink = stack.enter_context(pa.CompressedOutputStream(sink, "gzip"))

        def write(table: pa.Table) -> None:
            nonlocal writer, schema
            if kind == "jsonl":
                lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist())
                sink.write("".join(lines).encode())
                return
            if writer is None:
                schema = table.schema
                writer = (pq.ParquetWriter if kind == "parquet" else pa_csv.CSVWriter)(sink, schema)
                stack.callback(writer.close)
            # Arrow's CSV writer crashes on another schema.
            writer.write_table(_aligned(table, schema))

        yield write


def _aligned(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Carried columns of JSON lines may come, go and change type from block to block; those of a table may not."""
    if table.schema.equals(schema):
        return table
    fix = "make OUT a .jsonl file"
    for name in table.column_names:
        if name not in schema.names:
            raise SchemaError("the first rows lack this column", where=f"column {name!r}", fix=fix)
    columns = []
    for field in schema:
        values = table[field.name] if field.name in table.column_names else pa.nulls(table.num_rows)
        try:
            columns.append(pc.cast(values, field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            where, expected = f"column {field.name!r}", f"{field.type}, as in the first rows"
            raise SchemaError("the type changes", where=where, got=values.type, expected=expected, fix=fix) from None
    return pa.Table.from_arrays(columns, schema=schema)


def _format(path: Path) -> str:
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        return "csv"
    if name.endswith(".parquet"):
        return "parquet"
    if name.endswith((".jsonl", ".ndjson")):
        return "jsonl"
    raise UsageError("unknown file format", where=str(path), expected=FORMATS)
