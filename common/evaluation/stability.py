"""Population stability: how far today's values are from those the model was built on.

PSI = sum over bins of (actual - expected) * ln(actual / expected) (Siddiqi 2006, *Credit Risk Scorecards*).
Of a single field it is called CSI. Rules of thumb: below 0.1 stable, above 0.25 shifted. Without any shift
it is about (bins - 1) * (1/n + 1/m) (Yurdakul 2018), so 100 rows alone give 0.09 by chance: read `n` too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from common.errors import DataError
from common.monitoring.bins import to_numbers

STABLE, SHIFTED = 0.1, 0.25
MAX_LEVELS = 20  # the rarer levels of a category are counted together as `other`
SMALLEST_SHARE = 1e-4  # an empty bin counts as this, the usual guard against ln 0


def reference_histogram(values: Any, bins: int = 10) -> dict[str, Any]:
    """The histogram of one field as JSON: `{"edges", "range" | "levels", "shares", "missing", "n"}`.

    Numbers get equal-frequency bins (-inf, e1], (e1, e2] … (ek, inf), and the smallest and largest as `range`.
    Text, booleans, and numbers with at most `bins` distinct values (flags, codes, constants) are levels, with one
    last share for all others. `shares` and `missing` are fractions of all `n` rows and add up to 1. Raises
    `DataError` without a row.
    """
    series = _series(values)
    known = series.dropna()
    histogram: dict[str, Any]
    if _numeric(known) and known.nunique() > bins:
        quantiles = np.quantile(known.to_numpy(dtype=float), np.linspace(0, 1, bins + 1)[1:-1])
        histogram = {"edges": np.unique(quantiles).tolist(), "range": [float(known.min()), float(known.max())]}
    else:
        common = known.value_counts().head(MAX_LEVELS).index
        levels = [float(level) if _numeric(known) else _scalar(level) for level in common]
        histogram = {"levels": sorted(levels, key=lambda level: (str(type(level)), level))}
    shares = _shares(histogram, series)
    return {**histogram, "shares": shares[:-1].tolist(), "missing": float(shares[-1]), "n": len(series)}


def psi(reference: Mapping[str, Any], values: Any) -> float:
    """Population stability index of `values` against a reference histogram; missing is a bin of its own."""
    expected = np.maximum([*reference["shares"], reference["missing"]], SMALLEST_SHARE)
    actual = np.maximum(_shares(reference, _series(values)), SMALLEST_SHARE)
    return float(((actual - expected) * np.log(actual / expected)).sum())


def verdict(value: float) -> str:
    """`stable`, `moving` or `shifted`, by the usual rule of thumb."""
    return "stable" if value < STABLE else "moving" if value <= SHIFTED else "shifted"


def stability_table(
    reference: Mapping[str, Mapping[str, Any]], frame: pd.DataFrame, by: str | None = None
) -> pd.DataFrame:
    """CSI of every field of the reference: columns `field`, `period`, `n`, `psi`, `verdict`.

    `by` names a column of periods (a month as text, a `Period`): one row per field and period, in order.
    Without it the whole frame is one period. Fields the frame lacks are compared as all missing.
    """
    parts = [("all", frame)] if by is None else [(str(period), part) for period, part in frame.groupby(by, sort=True)]
    rows = []
    for field, histogram in reference.items():
        for period, part in parts:
            values = part[field] if field in part else pd.Series([None] * len(part), dtype=object)
            value = psi(histogram, values)
            rows.append({"field": field, "period": period, "n": len(part), "psi": value, "verdict": verdict(value)})
    return pd.DataFrame(rows, columns=["field", "period", "n", "psi", "verdict"])


def _shares(histogram: Mapping[str, Any], series: pd.Series) -> NDArray[np.float64]:
    """Share of rows in each bin (for levels: each level, then all others), then the missing."""
    known = series.dropna()
    if "edges" in histogram:
        numbers = to_numbers(known.to_numpy())  # text is as good as missing, and 10**400 as infinity
        numbers = numbers[~np.isnan(numbers)]
        place = np.searchsorted(histogram["edges"], numbers, side="left")
        counts = np.bincount(place, minlength=len(histogram["edges"]) + 1).astype(float)
    else:
        position = {level: index for index, level in enumerate(histogram["levels"])}
        other = len(position)
        counts = np.zeros(other + 1)
        for level, count in known.value_counts().items():
            counts[position.get(_scalar(level), other)] += count
    return np.append(counts, len(series) - counts.sum()) / len(series)


def _series(values: Any) -> pd.Series:
    series = pd.Series(values)
    if series.empty:
        raise DataError("no rows to compare", got=0, expected="at least one value")
    return series


def _numeric(series: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series)


def _scalar(value: Any) -> Any:
    """A JSON scalar: numbers as they are (1 equals 1.0), everything else as text."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    return float(value) if isinstance(value, int | float | np.number) else str(value)
