"""Transactions of one's own: a CSV or Parquet file, read with one clear sentence about what is wrong.

Columns: `id`, `time` (ISO 8601 with a zone, or whole milliseconds since 1970), `amount` (decimal, in `currency`),
`currency` (ISO 4217, the same in every row), `fraud` (0, 1 or empty) and, if it is known, `label_time`. Every other
column of texts or whole numbers is an entity, such as customer or terminal, whose history is counted; numbers with
decimals, dates and booleans are left out with a warning. Errors count rows from 1, the first below the names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from common.data.leak import label_leaks
from common.errors import AuditError, DataError, SchemaError
from common.progress import warn
from finance.fraud_detection.currency import DECIMALS

REQUIRED = ("id", "time", "amount", "currency", "fraud")
ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d(?::?\d\d)?)"
WHOLE = r"\d{1,18}"
NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
TIME = "ISO 8601 with a zone, such as 2026-11-28T09:30:00Z, or milliseconds since 1970, from 1980 to 2200"
EARLIEST, LATEST = 315_532_800_000, 7_258_118_400_000
"""1980 and 2200: seconds or microseconds taken for milliseconds fall outside."""
LONGEST_ID = 64
MOST_ENTITIES = 8
LARGEST_AMOUNT = 10**15
"""Minor units; up to there a float holds the decimals exactly enough."""
FEW_LEVELS = 50
"""An entity with so few values may be a status; it must not give the label away."""


@dataclass(frozen=True)
class Table:
    """The file's rows in its own order: `fraud` int8 with -1 for unknown, `label_time` int64 ms with -1 for unknown."""

    id: np.ndarray
    time: np.ndarray
    amount: np.ndarray
    currency: str
    entities: dict[str, np.ndarray]
    fraud: np.ndarray
    label_time: np.ndarray


def read_own(path: Path) -> Table:
    """Read and check a table; raises `DataError`, `SchemaError` or `AuditError` naming the first bad row."""
    return checked(read_frame(path), str(path))


def checked(frame: pd.DataFrame, where: str) -> Table:
    """A table that was read by `read_frame`, its rows in their order; raises as `read_own` does."""
    if absent := [name for name in REQUIRED if name not in frame]:
        got = f"a table with {', '.join(map(str, frame.columns))}"
        raise SchemaError("missing column", where=f"{where}: {absent[0]}", got=got, expected=", ".join(REQUIRED))
    currency = _currency(frame["currency"], where)
    time, fraud = _times(frame["time"], f"{where}: time", blank=False), _fraud(frame["fraud"], where)
    label_time = np.full(len(frame), -1)
    if "label_time" in frame:
        label_time = _times(frame["label_time"], f"{where}: label_time", blank=True)
        early = (label_time >= 0) & (label_time < time)
        _refuse(early, "a label before its transaction", f"{where}: label_time", frame["label_time"], "a later time")
    entities = _entities(frame, where)
    _audit(entities, fraud, where)
    ids, amount = _ids(frame["id"], where), _amounts(frame["amount"], currency, where)
    return Table(ids, time, amount, currency, entities, fraud, label_time)


def as_entity(column: pd.Series) -> np.ndarray:
    """Values as text, "" where there is none; equal ones share one object, as a million rows have few values."""
    codes, levels = pd.factorize(column)
    texts = np.array([*map(str, levels), ""], dtype=object)
    return texts[codes]


def read_frame(path: Path) -> pd.DataFrame:
    """All columns as they are, those of a CSV file as texts; raises `DataError` when it is no table or empty."""
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
            frame = frame if frame.index.names == [None] else frame.reset_index()
        else:
            frame = pd.read_csv(path, dtype="str", keep_default_na=False, na_values=[""], low_memory=False)
    except UnicodeDecodeError:
        fix = "save it as UTF-8 (in a spreadsheet: CSV UTF-8)"
        raise DataError("not text in UTF-8", where=str(path), fix=fix) from None
    except (ValueError, OSError) as error:  # those of pandas' parser and of pyarrow are among them
        reason = " ".join(str(error).split())
        raise DataError(f"not a {path.suffix[1:].upper()} table ({reason})", where=str(path)) from None
    if path.suffix == ".csv" and not isinstance(frame.index, pd.RangeIndex):
        raise DataError("the rows have more cells than there are names", where=str(path))
    if frame.empty:
        raise DataError("a table without rows", where=str(path))
    return frame


def _refuse(bad: Any, what: str, where: str, values: pd.Series, expected: str, fix: str = "") -> None:
    """Raise `DataError` about the first of `values` where `bad`, an array or series of bool, is true."""
    if np.any(bad):
        row = int(np.argmax(bad))
        value = values.iloc[row]
        got = "nothing" if pd.isna(value) or value == "" else repr(str(value))
        raise DataError(f"{what} in row {row + 1}", where=where, got=got, expected=expected, fix=fix)


def _ids(column: pd.Series, where: str) -> np.ndarray:
    where = f"{where}: id"
    _refuse(column.isna() | (column == ""), "no id", where, column, f"1 to {LONGEST_ID} characters")
    ids = column.astype("str")
    _refuse(ids.str.len() > LONGEST_ID, "too long an id", where, column, f"1 to {LONGEST_ID} characters")
    _refuse(ids.duplicated(), "the id of an earlier row", where, column, "an id of its own in every row")
    return ids.to_numpy(dtype=object)


def _times(column: pd.Series, where: str, *, blank: bool) -> np.ndarray:
    """int64 milliseconds, -1 where the cell is empty and may be."""
    empty = (column.isna() | (column == "")).to_numpy()
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        found = _milliseconds(column)
    elif types.is_numeric_dtype(column):
        number = column.to_numpy("float64", na_value=np.nan)  # whole milliseconds are exact in it
        found = np.where(number == np.rint(number), np.nan_to_num(number, nan=-1), -1).clip(-1, LATEST).astype(np.int64)
    else:
        text = column.astype("str")
        whole, iso = text.str.fullmatch(WHOLE, na=False), text.str.fullmatch(ISO, na=False)
        found = np.full(len(column), -1)
        found[whole] = text[whole].astype(np.int64)
        found[iso] = _milliseconds(pd.to_datetime(text[iso], format="ISO8601", utc=True, errors="coerce"))
    wrong = ((found < EARLIEST) | (found >= LATEST)) & ~(empty & blank)
    _refuse(wrong, "not a time", where, column, TIME)
    return np.where(empty, -1, found)


def _milliseconds(column: pd.Series) -> np.ndarray:
    known = column.notna().to_numpy()
    found = np.full(len(column), -1)
    found[known] = column[known].astype("datetime64[ms, UTC]").astype(np.int64)
    return found


def _currency(column: pd.Series, where: str) -> str:
    where, first = f"{where}: currency", column.iloc[0]
    _refuse(~column.isin(list(DECIMALS)), "not a currency", where, column, "a code of ISO 4217, such as EUR")
    fix = "convert the amounts, or make one table for each"
    _refuse(column != first, "a second currency", where, column, f"{first} as in row 1", fix)
    return str(first)


def _amounts(column: pd.Series, currency: str, where: str) -> np.ndarray:
    """int64 minor units, whose number of digits is the currency's."""
    where, digits = f"{where}: amount", DECIMALS[currency]
    wanted = f"a decimal with at most {digits} digits after the point" if digits else "a whole number"
    minor = pd.to_numeric(column, errors="coerce").to_numpy("float64", na_value=np.nan) * 10**digits
    _refuse(~np.isfinite(minor), "not an amount", where, column, wanted)
    _refuse(minor < 0, "a negative amount", where, column, "0 or more", "leave refunds and reversals out")
    _refuse(minor > LARGEST_AMOUNT, "too large an amount", where, column, f"at most {LARGEST_AMOUNT:,} minor units")
    # A 32-bit float is off by less than .05 minor units up to 16,384.00; a digit too many is off by .1 or more.
    _refuse(np.abs(minor - np.rint(minor)) > 0.05, f"too fine an amount for {currency}", where, column, wanted)
    return np.rint(minor).astype(np.int64)


def _fraud(column: pd.Series, where: str) -> np.ndarray:
    empty = column.isna() | (column == "")
    number = pd.to_numeric(column, errors="coerce").to_numpy("float64", na_value=np.nan)
    _refuse(~empty & ~np.isin(number, [0, 1]), "not a label", f"{where}: fraud", column, "0, 1 or nothing")
    return np.where(empty, -1, number).astype(np.int8)


def _entities(frame: pd.DataFrame, where: str) -> dict[str, np.ndarray]:
    others = [name for name in frame if name not in (*REQUIRED, "label_time")]
    names = [name for name in others if _is_entity(frame[name])]
    if left_out := [str(name) for name in others if name not in names]:
        warn(f"{where}: left out {', '.join(left_out)}: neither text nor whole numbers, so no entity")
    if bad := [name for name in names if not NAME.fullmatch(str(name))]:
        expected = "small letters, digits and _ after a letter, at most 32"
        raise SchemaError("not a name for an entity", where=where, got=repr(bad[0]), expected=expected)
    if not 0 < len(names) <= MOST_ENTITIES:
        got, fix = ", ".join(map(str, names)) or "none", "such as customer and terminal; leave the others out"
        raise SchemaError(
            "cannot tell the entities", where=where, got=got, expected=f"1 to {MOST_ENTITIES} columns", fix=fix
        )
    return {str(name): as_entity(frame[name]) for name in names}


def _is_entity(column: pd.Series) -> bool:
    if types.is_bool_dtype(column) or not (
        types.is_string_dtype(column) or types.is_integer_dtype(column) or isinstance(column.dtype, pd.CategoricalDtype)
    ):
        return False
    number = pd.to_numeric(column.dropna().astype("str"), errors="coerce")
    return not (number.notna().all() and (number % 1 != 0).any())  # a text file has numbers as text


def _audit(entities: dict[str, np.ndarray], fraud: np.ndarray, where: str) -> None:
    known = fraud >= 0
    few = {name: values[known] for name, values in entities.items() if len(set(values)) <= FEW_LEVELS}
    for name, auc in label_leaks(pd.DataFrame(few), list(few), fraud[known]).items():
        fix = "leave the column out if it is filled in later"
        raise AuditError(f"alone gives the label away (AUC {auc:.3f})", where=f"{where}: {name}", fix=fix)
