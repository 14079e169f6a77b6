"""A table against its card, by pandera."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from common.data.card import Column, DatasetCard
from common.data.table import as_text
from common.errors import SchemaError


def check_schema(frame: pd.DataFrame, card: DatasetCard) -> None:
    """Refuse a table with other columns, types, codes or ranges than its card says.

    Raises `SchemaError` with the column, how many cells are wrong, the first one's value and row
    (index label), and what was expected.
    """
    _check_columns(frame, card)
    try:
        pa.DataFrameSchema({column.name: _rule(column, card) for column in card.columns}).validate(frame, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        name = next(c.name for c in card.columns if c.name in set(cases["column"]))
        bad = cases[cases["column"] == name].sort_values("index")
        row, value = bad.iloc[0][["index", "failure_case"]]
        cells = f"{len(bad)} bad cells, the first" if len(bad) > 1 else "a bad cell"
        raise SchemaError(
            f"{cells} in row {row}",
            where=f"{card.id}: {name}",
            got="nothing" if pd.isna(value) else repr(as_text(value)),
            expected=_expected(card.column(name), card),
        ) from None


def _expected(column: Column, card: DatasetCard) -> str:
    """What a cell of this column may hold, in words."""
    allowed = _allowed(column, card)
    if allowed:
        text = f"one of {', '.join(str(value) for value in allowed)}"
    elif column.kind == "number":
        text = "a number"
        if column.minimum is not None:
            text += f" from {column.minimum:g}"
        if column.maximum is not None:
            text += f" up to {column.maximum:g}"
    else:
        text = "a value of its own" if column.kind == "id" else "a value"
    return text + (" or nothing" if column.missing else "")


def _check_columns(frame: pd.DataFrame, card: DatasetCard) -> None:
    names = [column.name for column in card.columns]
    if absent := [name for name in names if name not in frame]:
        got = f"a table with {', '.join(map(str, frame.columns))}"
        raise SchemaError("missing column", where=f"{card.id}: {absent[0]}", got=got, expected=f"{len(names)} columns")
    if extra := [str(name) for name in frame if name not in names]:
        fix = "drop it or add it to the card"
        raise SchemaError("unknown column", where=card.id, got=", ".join(extra), expected=", ".join(names), fix=fix)


def _rule(column: Column, card: DatasetCard) -> pa.Column:
    """Our own vectorised check, because pandera's dtype check names no cell."""
    allowed = _allowed(column, card)

    def good(series: pd.Series) -> pd.Series:
        if allowed:
            return series.isin(allowed)
        if column.kind != "number":
            return series.notna()
        number = pd.to_numeric(series, errors="coerce")
        low = -np.inf if column.minimum is None else column.minimum
        high = np.inf if column.maximum is None else column.maximum
        return number.between(low, high) & ~np.isinf(number)

    return pa.Column(checks=pa.Check(good), nullable=column.missing, unique=column.kind == "id")


def _allowed(column: Column, card: DatasetCard) -> list[int | str]:
    if column.kind == "target":
        return [int(value) if value.lstrip("-").isdigit() else value for value in card.label_counts]
    return [*column.codes, *column.undocumented]
