"""Tensors to what a predictor takes, rows or columns of a table, and its answers back to tensors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from random import sample
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic_core import from_json, to_json

from common.serving.problems import shown_value
from common.serving.v2.fields import Contract, TensorField
from common.serving.v2.tensors import DTYPES, Decoded, Numbers, Texts, wrong

if TYPE_CHECKING:
    import pyarrow

    from common.tables import Column

Output = tuple[str, str, np.ndarray | list[str | None]]
_LEAVE_OUT = object()


def to_rows(columns: Mapping[str, Decoded], fields: Mapping[str, TensorField]) -> bytes:
    """The columns as the JSON body of `predict/batch`, so that one validator judges both forms of a request.

    Raises `InvalidBody` for BYTES that should be JSON and are not.
    """
    cells = [_cells(column, fields[name]) for name, column in columns.items()]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*cells, strict=True)]
    if any(_LEAVE_OUT in column for column in cells):
        rows = [{name: cell for name, cell in row.items() if cell is not _LEAVE_OUT} for row in rows]
    return to_json({"rows": rows})


def _cells(column: Decoded, field: TensorField) -> list[Any]:
    absent = None if field.nullable else _LEAVE_OUT
    if isinstance(column, Texts):
        levels: list[Any] = [_parsed(column, code, field) for code in range(len(column.levels))]
        levels.append(absent)  # read by code -1
        return [levels[code] for code in column.codes.tolist()]
    cells = column.values.tolist()
    if column.missing is not None:
        for row in np.flatnonzero(column.missing).tolist():
            cells[row] = absent
    return cells


def _parsed(column: Texts, code: int, field: TensorField) -> Any:
    if not field.is_json:
        return column.levels[code]
    try:
        return from_json(column.levels[code])
    except ValueError:
        row = int(np.argmax(column.codes == code))
        raise wrong(f"rows[{row}].{field.name}", shown_value(column.levels[code]), f"JSON: {field.expected}") from None


def takes_columns(predictor: Any, tensors: Contract) -> bool:
    """Whether the predictor scores tables and whole columns of all its fields can be checked at once."""
    if not hasattr(predictor, "predict_table"):
        return False
    kinds = {field.name: field.kind for field in predictor.table_fields}
    return kinds.keys() == tensors.inputs.keys() and all(
        field.columnar and (kinds[name] == "number") != ("enum" in field.rule or "const" in field.rule)
        for name, field in tensors.inputs.items()
    )


def to_columns(columns: Mapping[str, Decoded], predictor: Any, tensors: Contract, rows: int) -> dict[str, Column]:
    """What `predict_table` takes, held to the same rules as a row; raises `InvalidBody` naming the first bad row."""
    found: dict[str, Column] = {}
    for field in predictor.table_fields:
        column, rule = columns.get(field.name), tensors.inputs[field.name]
        if field.kind == "number":
            assert not isinstance(column, Texts)
            found[field.name] = np.full(rows, np.nan) if column is None else _number(column, rule)
        else:
            found[field.name] = (np.full(rows, -1, np.int32), []) if column is None else _category(column, rule)
    return found


def _number(column: Numbers, field: TensorField) -> np.ndarray:
    values, rule = column.values, field.rule
    bad = ~np.isfinite(values)
    for bound, breaks in (
        ("minimum", np.less),
        ("maximum", np.greater),
        ("exclusiveMinimum", np.less_equal),
        ("exclusiveMaximum", np.greater_equal),
    ):
        if bound in rule:
            bad |= breaks(values, rule[bound])
    if column.missing is not None:
        bad &= ~column.missing
    if bad.any():
        row = int(np.argmax(bad))
        raise wrong(f"rows[{row}].{field.name}", shown_value(values[row].item()), field.expected)
    numbers = values.astype(np.float64)
    if column.missing is not None:
        numbers[column.missing] = np.nan
    return numbers


def _category(column: Decoded, field: TensorField) -> tuple[np.ndarray, list[Any]]:
    if isinstance(column, Texts):
        codes, levels = column.codes, column.levels
    else:
        distinct, codes = np.unique(column.values, return_inverse=True)
        levels = distinct.tolist()
        if column.missing is not None:
            codes = np.where(column.missing, -1, codes)
    known = field.rule.get("enum") or [field.rule["const"]]
    for code, level in enumerate(levels):
        if level not in known and (codes == code).any():
            row = int(np.argmax(codes == code))
            raise wrong(f"rows[{row}].{field.name}", shown_value(level), field.expected)
    return codes, levels


def of_rows(answers: Sequence[Any], tensors: Contract, wanted: Collection[str]) -> list[Output]:
    """Answers as one output per wanted field (all when none is named), in the order wanted."""
    names = list(wanted or tensors.outputs)
    dumped = tensors.dump(answers, mode="json", by_alias=True)
    return [_output(tensors.outputs[name], [answer.get(name) for answer in dumped]) for name in names]


def of_table(table: pyarrow.Table, tensors: Contract, wanted: Collection[str]) -> list[Output] | None:
    """Columns of a scored table the same way (those the response declares); None when it lacks a wanted one."""
    names = list(wanted or (name for name in table.column_names if name in tensors.outputs))
    if not names or not set(names) <= set(table.column_names):
        return None
    outputs = []
    for name in names:
        column, field = table.column(name).combine_chunks(), tensors.outputs[name]
        if field.datatype in DTYPES and not column.null_count:
            outputs.append((name, field.datatype, column.to_numpy(zero_copy_only=False).astype(DTYPES[field.datatype])))
        else:
            outputs.append(_output(field, column.to_pylist()))
    return outputs


def _output(field: TensorField, values: list[Any]) -> Output:
    if field.is_json:
        return field.name, "BYTES", [to_json(value).decode() for value in values]
    if field.datatype == "BYTES":
        return field.name, "BYTES", values
    return field.name, field.datatype, np.array(values, DTYPES[field.datatype])  # None becomes NaN


def some_rows(
    columns: Mapping[str, Column], table: pyarrow.Table, most: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """At most `most` random rows of what `predict_table` got, as requests and answers."""
    n = table.num_rows
    places = np.array(range(n) if n <= most else sample(range(n), most))
    requests = {name: _values(column, places) for name, column in columns.items()}
    rows = [dict(zip(requests, row, strict=True)) for row in zip(*requests.values(), strict=True)]
    return rows, table.take(places).to_pylist()


def _values(column: Column, places: np.ndarray) -> list[Any]:
    if isinstance(column, tuple):
        codes, levels = column
        return [None if code < 0 else levels[code] for code in codes[places].tolist()]
    return column[places].tolist()
