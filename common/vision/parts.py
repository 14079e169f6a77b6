"""`tiles.csv`: which pictures show the same part."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np

from common.errors import SchemaError

PARTS = "tiles.csv"
COLUMNS = ("file", "part")


def read_parts(content: bytes, names: Sequence[str], where: str) -> np.ndarray:
    """int (names,): the part of every picture. A listed file that is not among the names is passed over.

    Raises `SchemaError` when the columns are others, a picture is missing, or one has two parts.
    """
    try:
        table = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
        rows = list(table)
    except (UnicodeDecodeError, csv.Error) as error:
        raise SchemaError(f"not a CSV file in UTF-8 ({error})", where=where) from None
    if not set(COLUMNS) <= set(table.fieldnames or ()):
        got, expected = ", ".join(table.fieldnames or ()) or "nothing", ", ".join(COLUMNS)
        raise SchemaError("other columns", where=where, got=got, expected=expected)
    known: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        file, part = (row["file"] or "").strip(), (row["part"] or "").strip()
        if not file or not part:
            raise SchemaError("an empty cell", where=f"{where}, row {number}", expected="a file and its part")
        if known.setdefault(file, part) != part:
            got = f"{known[file]!r} and {part!r}"
            raise SchemaError("one picture has two parts", where=f"{where}, row {number}", got=got)
    if missing := [name for name in names if name not in known]:
        got = f"{len(missing):,} without, first {missing[0]}"
        fix = "list every picture, or leave the file away: then near-duplicates count as one part"
        raise SchemaError("pictures without a part", where=where, got=got, expected="a row for each", fix=fix)
    return np.unique([known[name] for name in names], return_inverse=True)[1]
