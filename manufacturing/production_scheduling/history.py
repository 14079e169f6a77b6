"""Shop-floor history: how long operations really took, in a CSV of one's own or from the simulated plant.

Columns: `job`, `operation`, `machine`, `planned` (minutes), `start` and `end` (ISO 8601 with a zone), and where known
`actual` (minutes worked; else the time from start to end), `family`, `quantity`, `operator`, `experience` (months),
`shift` and `hours_since_maintenance` (of the machine). Errors count rows from 1, the first below the names.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import DataError, DatasetUnavailable, SchemaError
from common.files import sha256
from common.progress import warn

if TYPE_CHECKING:
    import pandas as pd

    from manufacturing.production_scheduling.config import Config

REQUIRED = ("job", "operation", "machine", "planned", "start", "end")
TEXTS = ("family", "operator", "shift")
NUMBERS = ("quantity", "experience", "hours_since_maintenance")
OPTIONAL = ("actual", *TEXTS, *NUMBERS)
MOST_RATIO = 100.0
"""Times planned: what took longer or was done faster by this factor is a mistake of units or of clocks."""
FEWEST_ROWS = 100
"""In each part of the split: for fewer, a quantile of .98 says nothing."""
WEEK = 7 * 86_400
"""Seconds."""


@dataclass(frozen=True)
class History:
    """Operations that were done, by their end; place `i` of every array is one.

    Texts are arrays of str (dtype object, "" where not known). `planned` and `actual` are float64 minutes, `quantity`,
    `experience` (months) and `hours_since_maintenance` float64 (NaN where not known), `start` and `end` int64 seconds
    since 1970 UTC.
    """

    dataset: str
    title: str
    licence: str
    sha256: str
    simulated: bool
    job: np.ndarray
    operation: np.ndarray
    machine: np.ndarray
    family: np.ndarray
    operator: np.ndarray
    shift: np.ndarray
    planned: np.ndarray
    actual: np.ndarray
    quantity: np.ndarray
    experience: np.ndarray
    hours_since_maintenance: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    @property
    def ratio(self) -> np.ndarray:
        """Actual / planned time (rows,)."""
        return self.actual / self.planned

    def rows(self, index: np.ndarray | slice) -> History:
        """The operations at these positions, or where a mask is true."""
        arrays: dict[str, Any] = {f.name: getattr(self, f.name)[index] for f in fields(self) if f.type == "np.ndarray"}
        return replace(self, **arrays)


def load(config: Config) -> History:
    """The history that the configuration names: simulated, or a CSV file of one's own; names of operators are left out
    unless they are asked for.

    Raises `DatasetUnavailable` where there is none, and `SchemaError` or `DataError` that name column and row.
    """
    from manufacturing.production_scheduling.config import SIMULATED
    from manufacturing.production_scheduling.plant import simulate

    if config.dataset == SIMULATED:
        found = simulate(config.plant, config.seed)
    else:
        path = Path(config.dataset).expanduser()
        if not path.is_file() or path.suffix != ".csv":
            expected = f"{SIMULATED}, or the path of a .csv file"
            raise DatasetUnavailable("no such history", got=repr(config.dataset), expected=expected)
        found = read_history(path)
    return found if config.operators else replace(found, operator=np.full(len(found), "", dtype=object))


def split(history: History, config: Config) -> dict[str, History]:
    """Train, stop, calibration and test, one after the other in time: an operation belongs to the week of its end.

    One that runs across an edge is left out, so that no part knows a time that another one measures. Raises `DataError`
    when a part has fewer than 100 operations.
    """
    weeks = (config.stop_weeks, config.calibration_weeks, config.test_weeks)
    until = int(history.end.max()) + 1
    edges = [until - WEEK * sum(weeks[i:]) for i in range(len(weeks))]
    bounds = [np.iinfo(np.int64).min, *edges, until]
    parts = {}
    for name, low, high in zip(("train", "stop", "calibration", "test"), bounds, bounds[1:], strict=False):
        parts[name] = history.rows((history.start >= low) & (history.end < high))
        if len(parts[name]) < FEWEST_ROWS:
            fix = "give a longer history, or fewer stop_weeks, calibration_weeks and test_weeks"
            raise DataError(
                f"too few operations in the part {name}",
                where=history.dataset,
                got=len(parts[name]),
                expected=f"at least {FEWEST_ROWS}",
                fix=fix,
            )
    return parts


def read_history(path: Path) -> History:
    """A CSV file with the columns above; others are left out with a warning.

    Raises `SchemaError` for a missing column and `DataError` naming column, row, what was got and what was expected.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype="str", keep_default_na=False)
    except UnicodeDecodeError:
        raise DataError("not text in UTF-8", where=str(path), fix="save it as UTF-8") from None
    except (ValueError, OSError) as error:
        raise DataError(f"not a CSV table ({' '.join(str(error).split())})", where=str(path)) from None
    if absent := [name for name in REQUIRED if name not in frame]:
        got = f"a table with {', '.join(map(str, frame.columns))}"
        raise SchemaError("missing column", where=f"{path}: {absent[0]}", got=got, expected=", ".join(REQUIRED))
    if frame.empty:
        raise DataError("a table without rows", where=str(path))
    if extra := [str(name) for name in frame if name not in (*REQUIRED, *OPTIONAL)]:
        warn(f"{path}: left out {', '.join(extra)}, which a history does not know")
    frame = frame.assign(**{name: "" for name in OPTIONAL if name not in frame})
    start, end = (_times(frame[name], f"{path}: {name}") for name in ("start", "end"))
    _refuse(end <= start, "an end that is not after the start", f"{path}: end", frame["end"], "a later time")
    planned = _numbers(frame["planned"], f"{path}: planned", above=0)
    actual = _numbers(frame["actual"], f"{path}: actual", above=0, blank=True)
    actual = np.where(np.isnan(actual), (end - start) / 60, actual)
    wrong = (actual > MOST_RATIO * planned) | (planned > MOST_RATIO * actual)
    expected = f"minutes, as are those between start and end; within {MOST_RATIO:g} times them"
    _refuse(wrong, "a planned time unlike the actual one", f"{path}: planned", frame["planned"], expected)
    for name in ("job", "operation", "machine"):
        _refuse(frame[name].str.strip() == "", "an empty cell", f"{path}: {name}", frame[name], "a name")
    twice = frame.duplicated(["job", "operation", "machine", "start"])
    _refuse(twice, "the operation of an earlier row", f"{path}: operation", frame["operation"], "each operation once")
    texts = {name: _texts(frame[name]) for name in ("job", "operation", "machine", *TEXTS)}
    found = History(
        dataset=f"own:{path.name}",
        title=f"Own history, {len(frame):,} operations in {path.name}",
        licence="not stated",
        sha256=sha256(path),
        simulated=False,
        **texts,
        **{name: _numbers(frame[name], f"{path}: {name}", blank=True) for name in NUMBERS},
        planned=planned,
        actual=actual,
        start=start,
        end=end,
    )
    return found.rows(np.argsort(end, kind="stable"))


def _refuse(bad: Any, what: str, where: str, values: pd.Series, expected: str) -> None:
    """Raise `DataError` about the first of `values` where `bad` is true."""
    if np.any(bad):
        row = int(np.argmax(bad))
        got = repr(values.iloc[row][:40]) if values.iloc[row] else "nothing"
        raise DataError(f"{what} in row {row + 1}", where=where, got=got, expected=expected)


def _times(column: pd.Series, where: str) -> np.ndarray:
    import pandas as pd

    iso = column.str.fullmatch(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)")
    times = pd.to_datetime(column.where(iso), format="ISO8601", utc=True, errors="coerce")
    _refuse(times.isna(), "not a time", where, column, "ISO 8601 with a zone, such as 2026-11-28T09:30:00Z")
    return times.astype("datetime64[s, UTC]").astype(np.int64).to_numpy()


def _numbers(column: pd.Series, where: str, above: float | None = None, blank: bool = False) -> np.ndarray:
    import pandas as pd

    number = pd.to_numeric(column, errors="coerce").to_numpy("float64", na_value=np.nan)
    empty = (column.str.strip() == "").to_numpy()
    wrong = ~np.isfinite(number) | (number < 0) | ((number <= above) if above is not None else False)
    expected = ("a number above 0" if above is not None else "a number from 0") + (" or nothing" if blank else "")
    _refuse(wrong & ~(empty & blank), "a bad cell", where, column, expected)
    return number


def _texts(column: pd.Series) -> np.ndarray:
    return column.str.strip().to_numpy(dtype=object)
