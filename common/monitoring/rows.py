"""Decisions as a table, whatever they come from, and cut into windows of time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from common.errors import DataError, UsageError

FORMATS = ".csv, .csv.gz, .parquet or .jsonl"
NO_TIME = (None, None)


def rows_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per decision: `{time, system, version, inputs, output, label?}` flattened, flat records as they are.

    Inputs and answers become columns side by side; an answer does not replace an input of the same name.
    """
    flat = []
    for row in rows:
        if isinstance(row.get("inputs"), Mapping):
            rest = {key: value for key, value in row.items() if key not in ("inputs", "output")}
            flat.append({**(row.get("output") or {}), **row["inputs"], **rest})
        else:
            flat.append(dict(row))
    if not flat:
        raise DataError("no decisions", got=0, expected="at least one row")
    return pd.DataFrame(flat)


def read_rows(source: Path) -> pd.DataFrame:
    """Decisions, or scored rows, from CSV, Parquet or JSON lines; raises `DataError` and `UsageError`."""
    if not source.is_file():
        raise DataError("no such file", where=str(source), expected=f"a {FORMATS} file")
    name = source.name.lower()
    try:
        if name.endswith((".csv", ".csv.gz")):
            frame = pd.read_csv(source, low_memory=False)
        elif name.endswith(".parquet"):
            frame = pd.read_parquet(source)
        elif name.endswith((".jsonl", ".ndjson")):
            with source.open(encoding="utf-8") as lines:
                frame = rows_frame(json.loads(line) for line in lines if line.strip())
        else:
            raise UsageError("unknown format", where=str(source), expected=FORMATS)
    except (ValueError, AttributeError, OSError) as error:  # pandas, pyarrow and json raise kinds of ValueError
        raise DataError(f"not readable ({str(error).splitlines()[0]})", where=str(source), expected=FORMATS) from None
    if frame.empty:
        raise DataError("no rows", where=str(source), expected="at least one row")
    if "inputs" in frame and "output" in frame:
        return rows_frame(_parsed(frame))
    return frame


def of_model(frame: pd.DataFrame, system: str, version: str) -> pd.DataFrame:
    """The rows of one model, where the table says which; raises `DataError` when there are none."""
    for column, wanted in (("system", system), ("version", version)):
        if column in frame and wanted:
            kept = frame[frame[column].astype(str) == wanted]
            if kept.empty:
                some = ", ".join(sorted(frame[column].astype(str).unique())[:3])
                raise DataError(f"no decisions of this {column}", got=some, expected=wanted)
            frame = kept
    return frame


def windows(frame: pd.DataFrame, every: str) -> Iterator[tuple[datetime | None, datetime | None, pd.DataFrame]]:
    """Parts of the table by its column `time`, in order: start, end, rows. `every` is like 1h, 1D or 7D.

    Without such a column, or with `every` empty, the table is one window. Windows without rows are left out.
    """
    if "time" not in frame:
        yield (*NO_TIME, frame)
        return
    try:
        numbers = pd.api.types.is_numeric_dtype(frame["time"])
        times = pd.to_datetime(
            frame["time"], utc=True, unit="s" if numbers else None, format=None if numbers else "ISO8601"
        )
        length = pd.Timedelta(every) if every else None
    except (ValueError, TypeError) as error:
        raise DataError(
            f"a time cannot be read ({error})", where="column 'time'", expected="ISO 8601, and 1h or 1D"
        ) from None
    if length is None or len(times.dropna()) == 0:
        known = times.dropna()
        ends = (known.min().to_pydatetime(), known.max().to_pydatetime()) if len(known) else NO_TIME
        yield (*ends, frame)
        return
    if length <= pd.Timedelta(0):
        raise UsageError("a window has no length", got=every, expected="for example 1h, 1D or 7D")
    for start, part in frame.groupby(times.dt.floor(length), sort=True):
        assert isinstance(start, pd.Timestamp)
        yield start.to_pydatetime(), (start + length).to_pydatetime(), part


def _parsed(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows of a table whose inputs and output are JSON text or structs."""
    for row in frame.to_dict("records"):
        yield {str(k): json.loads(v) if k in ("inputs", "output") and isinstance(v, str) else v for k, v in row.items()}
