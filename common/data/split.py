"""Splits that cannot leak, and the check that proves it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.model_selection import RepeatedStratifiedKFold

from common.data.leak import label_leaks
from common.errors import AuditError

# Rows are near-duplicates when they agree to three significant digits in all numbers (and exactly elsewhere):
# a re-measured or re-exported copy. With fewer than eight continuous columns honest rows agree by chance
# (ages, codes, round amounts), so small tables are checked for exact duplicates only.
DIGITS = 3
CONTINUOUS_COLUMNS = 8
CONTINUOUS_LEVELS = 100


def check_split(
    parts: Mapping[str, pd.DataFrame],
    *,
    features: Sequence[str],
    target: str | None = None,
    group: str | None = None,
    time: str | None = None,
) -> None:
    """Refuse a split that lets a test answer be known in training.

    `parts` maps names to tables, the training part first. Raises `AuditError` when parts share a value of
    `group`, when a row of `features` (or a near-duplicate, see above) stands in two parts, when training does not
    end before every other part begins in `time`, or when one feature alone gives `target` away.
    """
    names = list(parts)
    if group:
        _check_groups(parts, group)
    if time:
        _check_time(parts, time)
    whole = pd.concat(list(parts.values()), ignore_index=True)
    part = np.repeat(np.arange(len(names)), [len(frame) for frame in parts.values()])
    _check_rows(group_of_duplicates(whole, features), part, names, "equal")
    _check_rows(group_of_duplicates(whole, features, near=True), part, names, "nearly equal")
    if target:
        for name, auc in label_leaks(whole, list(features), whole[target].to_numpy()).items():
            raise AuditError(
                "this column alone gives the label away", where=name, got=f"AUC {auc:.3f}", fix="leave it out"
            )


def group_of_duplicates(frame: pd.DataFrame, features: Sequence[str], *, near: bool = False) -> np.ndarray:
    """int (rows,): rows equal in all `features` share a number (missing equals missing), first seen is 0.

    With `near`, near-duplicates share one too: rows whose numbers agree to three significant digits, in a table
    with at least eight continuous columns.
    """
    table = _rounded(frame, features) if near else frame
    return table.groupby(list(features), dropna=False, sort=False, observed=True).ngroup().to_numpy()


def stratified_split(
    y: np.ndarray, groups: np.ndarray | None, fractions: Mapping[str, float], seed: int
) -> dict[str, np.ndarray]:
    """Row positions of each part, sorted; label shares alike, no group on two sides.

    `y` and `groups` are (rows,); `groups=None` means every row is its own. A group counts for the label of its
    first row. `fractions` add up to 1.
    """
    if not np.isclose(sum(fractions.values()), 1):
        raise ValueError(f"fractions add up to {sum(fractions.values())}, expected 1")
    codes, first = _groups(groups, len(y))
    sizes, label = np.bincount(codes), np.asarray(y)[first]
    edges = np.cumsum(list(fractions.values()))[:-1]
    rng = np.random.default_rng(seed)
    part = np.empty(len(first), dtype=int)
    for value in np.unique(label):
        order = rng.permutation(np.flatnonzero(label == value))
        # A group goes where its middle row falls along the shuffled stratum.
        middle = (np.cumsum(sizes[order]) - sizes[order] / 2) / sizes[order].sum()
        part[order] = np.searchsorted(edges, middle)
    return {name: np.flatnonzero(part[codes] == number) for number, name in enumerate(fractions)}


def repeated_cv(
    y: np.ndarray, groups: np.ndarray | None, folds: int, repeats: int, seed: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield (repeat, train positions, test positions) of a repeated stratified K-fold that keeps groups together.

    The folds are scikit-learn's `RepeatedStratifiedKFold(folds, repeats, seed)` over groups, each with the label of
    its first row, so a table without repeated groups gets exactly the folds of the published protocol.
    """
    codes, first = _groups(groups, len(y))
    folding = RepeatedStratifiedKFold(n_splits=folds, n_repeats=repeats, random_state=seed)
    for number, (_, held_out) in enumerate(folding.split(first, np.asarray(y)[first])):
        test = np.isin(codes, held_out)
        yield number // folds, np.flatnonzero(~test), np.flatnonzero(test)


def _groups(groups: np.ndarray | None, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Group codes in order of first appearance, and the position where each group first appears."""
    codes = np.arange(rows) if groups is None else pd.factorize(np.asarray(groups), use_na_sentinel=False)[0]
    return codes, np.unique(codes, return_index=True)[1]


def _check_groups(parts: Mapping[str, pd.DataFrame], group: str) -> None:
    names = list(parts)
    for i, left in enumerate(names):
        for right in names[i + 1 :]:
            shared = set(parts[left][group].dropna()) & set(parts[right][group].dropna())
            if shared:
                got = f"{len(shared):,} in both, for example {min(map(str, shared))}"
                raise AuditError(f"{left} and {right} share groups", where=group, got=got, fix="split by this column")


def _check_time(parts: Mapping[str, pd.DataFrame], time: str) -> None:
    (first, train), *others = parts.items()
    for name, frame in others:
        end, begin = train[time].max(), frame[time].min()
        if not end < begin:
            raise AuditError(
                f"{first} does not end before {name} begins",
                where=time,
                got=f"{first} until {end}, {name} from {begin}",
                fix="split by time",
            )


def _check_rows(codes: np.ndarray, part: np.ndarray, names: list[str], how: str) -> None:
    """Refuse a row number that occurs in two parts."""
    seen = pd.DataFrame({"code": codes, "part": part})
    straddling = seen.groupby("code")["part"].transform("nunique") > 1
    if straddling.any():
        rows = seen[straddling]
        sides = sorted(set(rows.loc[rows["code"] == rows["code"].iloc[0], "part"]))
        raise AuditError(
            f"{len(rows):,} {how} rows stand on two sides of the split, for example in "
            f"{' and '.join(names[side] for side in sides)}",
            fix="split by group_of_duplicates(..., near=True) or drop the copies",
        )


def _rounded(frame: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """The features with numbers cut to three significant digits; unchanged when too few of them are continuous."""
    table = frame[list(features)]
    numbers = table.select_dtypes("number")
    if (numbers.nunique() >= CONTINUOUS_LEVELS).sum() < CONTINUOUS_COLUMNS:
        return table
    x = numbers.to_numpy("float64", na_value=np.nan)
    exponent = np.floor(np.log10(np.abs(x), where=(x != 0) & np.isfinite(x), out=np.zeros_like(x)))
    scale = 10.0 ** (DIGITS - 1 - exponent)
    return table.assign(**dict(zip(numbers.columns, (np.round(x * scale) / scale).T, strict=True)))
