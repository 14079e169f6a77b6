"""Verdicts and delayed labels of the case queue into a table of transactions, to train on.

    python -m finance.fraud_detection.labels payments.parquet labelled.parquet

OUT is the table with `fraud` and `label_time` where the queue knows them, so a label counts from the moment when it
became known and not before. Begin with the table as it came, not with an older OUT: a label that was taken back since
would stay in it. The queue is that of `DATABASE_URL`, else the one in `ESPALIER_HOME`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from common.config import settings
from common.errors import DatasetUnavailable, EspalierError, UsageError
from common.files import whole_file
from common.progress import warn, working
from finance.fraud_detection.cases import open_queue
from finance.fraud_detection.own import checked, read_frame

FORMATS = (".csv", ".parquet")


@dataclass(frozen=True)
class Joined:
    """Labels by what became of them: `new` where there was none, `changed` in what they say or since when, `kept` as
    the table had them or knew better since, and `unknown`, those of no transaction in the table."""

    new: int
    changed: int
    kept: int
    unknown: int


def join(frame: pd.DataFrame, labels: Mapping[str, tuple[int, int]], where: str) -> tuple[pd.DataFrame, Joined]:
    """The table with labels (fraud 0 or 1, label_time ms) by id; its other columns, rows and their order stay.

    Of two labels that differ the later one holds, of two that agree the earlier; one in the table without a time gives
    way. A label before its transaction is known with it. Raises `DataError`, `SchemaError` or `AuditError` for a table
    that cannot be trained on.
    """
    frame = frame.assign(**{name: None for name in ("fraud", "label_time") if name not in frame})
    table = checked(frame, where)
    places = np.flatnonzero(pd.Series(table.id).isin(labels.keys()))
    said = np.array([labels[id] for id in table.id[places]], np.int64).reshape(-1, 2)
    fraud, at = said[:, 0], np.maximum(said[:, 1], table.time[places])
    old_fraud, old_at = table.fraud[places], table.label_time[places]
    since = (old_fraud >= 0) & (old_at >= 0)
    taken = np.where(old_fraud == fraud, at < old_at, at >= old_at) | ~since
    fraud, at, places, new = fraud[taken], at[taken], places[taken], int((old_fraud < 0).sum())
    result = table.fraud.copy()
    result[places] = fraud
    frame["fraud"] = pd.Series(result, frame.index, "Int8").mask(result < 0)
    frame["label_time"] = _with(frame["label_time"], places, at)
    return frame, Joined(new, len(places) - new, len(said) - len(places), len(labels) - len(said))


def _with(column: Any, places: np.ndarray, at: np.ndarray) -> pd.Series:
    """Times (ms) at some places of a column, written as its others are, and ISO 8601 where it has none."""
    column = column.copy()
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        values = pd.Series(pd.to_datetime(at, unit="ms", utc=True).astype(column.dtype))
    elif types.is_numeric_dtype(column):
        column, values = column.astype("Int64"), pd.Series(at, dtype="Int64")
    else:
        column, values = column.astype(object), pd.Series(np.datetime_as_string(at.astype("M8[ms]"), timezone="UTC"))
    column.iloc[places] = values.tolist()
    return column


def write(frame: pd.DataFrame, out: Path) -> None:
    """As CSV or Parquet, whole or not at all."""
    with whole_file(out) as part:
        frame.to_csv(part, index=False) if out.suffix == ".csv" else frame.to_parquet(part, index=False)


def main() -> None:
    """Write OUT and say what became of the labels; an error is one sentence on stderr and its exit code."""
    parser = argparse.ArgumentParser(description="Labels of the case queue into a table of transactions.")
    parser.add_argument("transactions", type=Path, help="as for `espalier train dataset=`; `fraud` may be absent")
    parser.add_argument("out", type=Path, help="a .csv or .parquet file")
    asked = parser.parse_args()
    try:
        joined = _run(asked.transactions, asked.out)
    except (EspalierError, OSError) as error:
        print(f"espalier: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))
    told = f"{joined.new:,} new labels, {joined.changed:,} changed, {joined.kept:,} already known"
    print(f"{told}, {joined.unknown:,} of transactions that are not in the table", file=sys.stderr)
    print(asked.out)


def _run(source: Path, out: Path) -> Joined:
    for path in (source, out):
        if path.suffix not in FORMATS:
            raise UsageError("unknown file format", where=str(path), expected=" or ".join(FORMATS))
    if not source.is_file():
        raise DatasetUnavailable("no such file", where=str(source), expected="a table of transactions")
    with working("reading labels"):
        queue = open_queue(settings())
        labels = {id: (fraud, at) for id, fraud, at in queue.labels()}
        queue.close()
    if not labels:
        warn("the case queue has no label: is DATABASE_URL or ESPALIER_HOME that of the service?")
    with working("joining labels"):
        frame, joined = join(read_frame(source), labels, str(source))
        write(frame, out)
    return joined


if __name__ == "__main__":
    main()
