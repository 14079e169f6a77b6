"""From a verified file to a DataFrame and its labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.data.card import Column, DatasetCard
from common.errors import SchemaError

SEPARATORS = {"csv": ",", "semicolon": ";", "whitespace": r"\s+"}
# Not pandas' own list: "none", "NA" and "null" are levels in real tables.
MISSING = ["", "nan", "NaN"]


def read_table(card: DatasetCard, paths: Mapping[str, Path]) -> pd.DataFrame:
    """The card's table, one row a record, numbers as float64, columns and order as in the file.

    `paths` is what `fetch(card)` returns. Raises `SchemaError` when a file is not a table.
    """
    if card.stacked:
        parts = [_read(card, paths[file.path]).assign(**{card.stacked: file.part}) for file in card.files]
        frame = pd.concat(parts, ignore_index=True)
    else:
        frame = _read(card, paths[card.files[0].path])
    numbers = [c.name for c in card.columns if c.kind == "number" and c.name in frame]
    # A column with text in it stays as it is, for check_schema to name the cell.
    frame = frame.astype({name: "float64" for name in numbers if pd.api.types.is_numeric_dtype(frame[name])})
    coded = [c.name for c in card.columns if c.kind == "category" and c.name in frame and not _is_text(c, card)]
    return frame.assign(**{name: _whole(frame[name]) for name in coded if pd.api.types.is_float_dtype(frame[name])})


def _read(card: DatasetCard, path: Path) -> pd.DataFrame:
    # Left alone, pandas reads the words true and false, or 007, as something else than the card's codes.
    words = {column.name: "str" for column in card.columns if _is_text(column, card)}
    names = [column.name for column in card.columns if column.name != card.stacked]
    how: dict[str, Any] = {} if card.header == "names" else {"header": None, "names": names}
    how |= {"skiprows": 1} if card.header == "skipped" else {}
    try:
        return pd.read_csv(
            path, sep=SEPARATORS[card.format], keep_default_na=False, na_values=MISSING, dtype=words, **how
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise SchemaError(f"not a {card.format} table ({str(error).strip()})", where=str(path)) from None


def _is_text(column: Column, card: DatasetCard) -> bool:
    codes = column.codes if column.kind == "category" else tuple(card.label_counts) if column.kind == "target" else ()
    return any(isinstance(code, str) and not code.lstrip("-").isdigit() for code in codes)


def _whole(column: pd.Series) -> pd.Series:
    """Integer codes beside blanks, which pandas reads as 1.0."""
    values = [None if pd.isna(value) else int(value) if value % 1 == 0 else value for value in column]
    return pd.Series(values, column.index, dtype=object)


def labels(frame: pd.DataFrame, card: DatasetCard) -> np.ndarray:
    """int8 (rows,): 1 where the target says the event happened, else 0.

    Raises `SchemaError` when the target is absent or holds a value the card does not count.
    """
    if card.target not in frame:
        raise SchemaError("the target is missing", where=f"{card.id}: {card.target}", got=", ".join(map(str, frame)))
    text = frame[card.target].map(as_text)
    unknown = sorted(set(text) - set(card.label_counts))
    if unknown:
        expected = f"one of {', '.join(card.label_counts)}"
        raise SchemaError("unknown label", where=f"{card.id}: {card.target}", got=repr(unknown[0]), expected=expected)
    return (text == as_text(card.positive)).to_numpy(np.int8)


def as_text(value: Any) -> str:
    """A code as a card writes it: 1, 1.0 and "1" are all `1`."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
