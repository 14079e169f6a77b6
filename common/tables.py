"""Scoring files larger than memory: CSV, Parquet and JSON lines in batches, through a predictor, out again.

A predictor that offers `table_fields` and `predict_table(columns) -> pyarrow.Table` scores column-wise;
memory holds one batch whatever the size of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from common.errors import SchemaError, UsageError
from common.files import whole_file
from common.table_files import new_table, open_table

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
    types = {field.name: field.type for field in fields}
    rows = 0
    # The source first: when it cannot be read, not even the target's folder is made.
    with open_table(source, types) as (batches, share), whole_file(target) as part, new_table(part, target) as write:
        for batch in batches:
            scores: pa.Table = predictor.predict_table(to_columns(batch, fields, rows + 1))
            carried = [name for name in batch.schema.names if name not in types]
            if both := [name for name in carried if name in scores.column_names]:
                where = "column " + ", ".join(map(repr, both))
                raise SchemaError("the model writes a column of this name", where=where, fix="rename it in the file")
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
