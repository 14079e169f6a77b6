"""Scoring files larger than memory: CSV, Parquet and JSON lines in batches, through a predictor, out again.

A predictor that offers `table_fields` and `predict_table(columns) -> pyarrow.Table` scores column-wise;
memory holds one batch whatever the size of the file.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from common.errors import DataError, SchemaError, UsageError
from common.files import whole_file

BLOCK_BYTES = 8 << 20  # about 40,000 rows of 20 columns: large enough for NumPy, small enough for a laptop
BATCH_ROWS = 65_536
FORMATS = ".csv, .csv.gz, .parquet or .jsonl"

# A column of numbers is float64 with NaN for missing; of categories (codes, levels) with code -1 for missing.
Column = np.ndarray | tuple[np.ndarray, Sequence[Any]]


@dataclass(frozen=True)
class TableField:
    """A column the predictor reads: its kind, allowed levels or range, and whether a cell may be empty."""

    name: str
    kind: str
    levels: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    optional: bool = False

    @property
    def type(self) -> pa.DataType:
        """The Arrow type to read the column as."""
        if self.kind == "number":
            return pa.float64()
        return pa.int64() if all(isinstance(level, int) for level in self.levels) else pa.string()


def score_file(predictor: Any, source: Path, target: Path, on_progress: Callable[[int, float], None]) -> int:
    """Score `source` into `target` and return the number of rows; the target appears whole or not at all.

    Columns the model does not read are carried over as they are, before the model's own. `on_progress`
    gets rows done and the share of the file read. Raises `UsageError` for an unknown format and
    `SchemaError` naming column, row, got and expected.
    """
    if not hasattr(predictor, "predict_table"):
        raise UsageError(f"{type(predictor).__name__} answers requests only", fix="use its service instead of a file")
    fields: list[TableField] = predictor.table_fields
    rows = 0
    with whole_file(target) as part, _reader(source, fields) as (batches, share), _writer(part, target) as write:
        for batch in batches:
            scores: pa.Table = predictor.predict_table(to_columns(batch, fields, rows + 1))
            carried = [name for name in batch.schema.names if name not in {field.name for field in fields}]
            names = [*carried, *scores.column_names]
            columns = [*(batch.column(name) for name in carried), *scores.columns]
            write(pa.Table.from_arrays(columns, names=names))
            rows += batch.num_rows
            on_progress(rows, share())
        if not rows:
            raise SchemaError("no rows to score", where=str(source), got="an empty table", expected="at least one row")
    return rows


def to_columns(batch: pa.RecordBatch, fields: Sequence[TableField], first_row: int = 1) -> dict[str, Column]:
    """Typed columns of one batch, checked against the fields; `first_row` numbers its rows for errors.

    Raises `SchemaError` naming column and row.
    """
    return {field.name: _column(batch.column(field.name), field, first_row) for field in fields}


def _column(values: Any, field: TableField, first_row: int) -> Column:
    where = f"column {field.name!r}"
    if values.null_count and not field.optional:
        row = first_row + int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
        raise SchemaError(
            "an empty cell", where=f"{where}, row {row}", expected="a value", fix="fill it or drop the row"
        )
    if field.kind == "number":
        numbers = values.to_numpy(zero_copy_only=False)
        low = -np.inf if field.minimum is None else field.minimum
        high = np.inf if field.maximum is None else field.maximum
        bad = (numbers < low) | (numbers > high) | np.isinf(numbers)
        if not field.optional:
            bad |= np.isnan(numbers)
        if bad.any():
            i = int(np.argmax(bad))
            expected = f"a number from {low:g} to {high:g}"
            raise SchemaError(
                "out of range", where=f"{where}, row {first_row + i}", got=f"{numbers[i]:g}", expected=expected
            )
        return numbers
    encoded = values.dictionary_encode()
    levels = encoded.dictionary.to_pylist()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    unknown = [level for level in levels if level not in field.levels]
    if unknown:
        row = first_row + int(np.argmax(codes == levels.index(unknown[0])))
        expected = "one of " + ", ".join(map(repr, field.levels))
        raise SchemaError("unknown category", where=f"{where}, row {row}", got=repr(unknown[0]), expected=expected)
    return codes, levels


@contextmanager
def _reader(
    source: Path, fields: Sequence[TableField]
) -> Iterator[tuple[Iterator[pa.RecordBatch], Callable[[], float]]]:
    if not source.is_file():
        raise DataError("no such file", where=str(source), expected=f"a {FORMATS} file")
    kind = _format(source)
    size = max(source.stat().st_size, 1)
    with source.open("rb") as raw:
        share = lambda: min(raw.tell() / size, 1.0)  # noqa: E731 - a closure over the open file
        try:
            yield _batches(kind, source, raw, fields), share
        except pa.ArrowInvalid as error:
            raise SchemaError(f"not readable as {kind} ({_plain(error)})", where=str(source)) from None


def _batches(kind: str, source: Path, raw: Any, fields: Sequence[TableField]) -> Iterator[pa.RecordBatch]:
    types = {field.name: field.type for field in fields}
    if kind == "parquet":
        file = pq.ParquetFile(raw)
        _check_names(source, file.schema_arrow.names, fields)
        for batch in file.iter_batches(BATCH_ROWS):
            yield _cast(batch, types)
    elif kind == "jsonl":
        for block in _lines(raw):
            batch = pa_json.read_json(pa.BufferReader(block)).combine_chunks()
            for field in fields:
                if field.optional and field.name not in batch.schema.names:
                    batch = batch.append_column(field.name, pa.nulls(batch.num_rows, field.type))
            _check_names(source, batch.schema.names, fields)
            for part in batch.to_batches():
                yield _cast(part, types)
    else:
        names = _header(source)
        _check_names(source, names, fields)
        reader = pa_csv.open_csv(
            pa.CompressedInputStream(raw, "gzip") if source.suffix == ".gz" else raw,
            pa_csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
            convert_options=pa_csv.ConvertOptions(
                column_types={name: types.get(name, pa.string()) for name in names},
                null_values=["", "nan", "NaN"],
                strings_can_be_null=True,
            ),
        )
        yield from reader


def _lines(raw: Any) -> Iterator[bytes]:
    """Whole lines in blocks of about `BLOCK_BYTES`."""
    while block := raw.read(BLOCK_BYTES):
        yield block + raw.readline()


def _header(source: Path) -> list[str]:
    with gzip.open(source, "rt", encoding="utf-8") if source.suffix == ".gz" else source.open(encoding="utf-8") as file:
        try:
            return next(csv.reader(file))
        except StopIteration:
            raise SchemaError("the file is empty", where=str(source), expected="a header line") from None
        except UnicodeDecodeError:
            raise SchemaError("not text in UTF-8", where=str(source), fix="save it as UTF-8 CSV") from None


def _check_names(source: Path, names: Sequence[str], fields: Sequence[TableField]) -> None:
    missing = [field.name for field in fields if field.name not in names]
    if missing:
        some = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise SchemaError("columns are missing", where=str(source), got=f"{len(names)} columns without {some}")


def _cast(batch: pa.RecordBatch, types: Mapping[str, pa.DataType]) -> pa.RecordBatch:
    columns = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            columns.append(pc.cast(column, types[name]) if name in types else column)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            expected = "numbers" if types[name] == pa.float64() else str(types[name])
            raise SchemaError("wrong type", where=f"column {name!r}", got=str(column.type), expected=expected) from None
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


@contextmanager
def _writer(part: Path, target: Path) -> Iterator[Callable[[pa.Table], None]]:
    """Write tables to `part` in the format that the name of `target` says."""
    kind = _format(target)
    opened: list[Any] = []
    with pa.OSFile(str(part), "wb") as raw:
        sink = pa.CompressedOutputStream(raw, "gzip") if target.suffix == ".gz" else raw

        def write(table: pa.Table) -> None:
            if kind == "jsonl":
                lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist())
                sink.write("".join(lines).encode())
                return
            if not opened:
                opened.append((pq.ParquetWriter if kind == "parquet" else pa_csv.CSVWriter)(sink, table.schema))
            opened[0].write_table(table)

        yield write
        for writer in opened:
            writer.close()
        if sink is not raw:
            sink.close()


def _format(path: Path) -> str:
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        return "csv"
    if name.endswith(".parquet"):
        return "parquet"
    if name.endswith((".jsonl", ".ndjson")):
        return "jsonl"
    raise UsageError("unknown file format", where=str(path), expected=FORMATS)


def _plain(error: Exception) -> str:
    return str(error).replace("\n", " ")[:200]
