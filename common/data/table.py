"""From a verified file to a DataFrame and its labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.data.card import DatasetCard
from common.errors import SchemaError

# Not pandas' own list: "none", "NA" and "null" are levels in real tables.
MISSING = ["", "nan", "NaN"]


def read_table(card: DatasetCard, paths: Mapping[str, Path]) -> pd.DataFrame:
    """The card's table, one row a record, numbers as float64, columns and order as in the file.

    `paths` is what `fetch(card)` returns. Raises `SchemaError` when the file is not a table.
    """
    path = paths[card.files[0].path]
    separator = r"\s+" if card.format == "whitespace" else ","
    try:
        frame = pd.read_csv(path, sep=separator, keep_default_na=False, na_values=MISSING)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise SchemaError(f"not a {card.format} table ({str(error).strip()})", where=str(path)) from None
    numbers = [c.name for c in card.columns if c.kind == "number" and c.name in frame]
    # A column with text in it stays as it is, for check_schema to name the cell.
    return frame.astype({name: "float64" for name in numbers if pd.api.types.is_numeric_dtype(frame[name])})


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
