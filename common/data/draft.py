"""A first card for a table of one's own: what can be seen in it; the rest is for people to say."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from common.data.card import load_card
from common.data.table import MISSING, SEPARATORS, as_text
from common.errors import DataError, UsageError
from common.files import sha256, whole_file, write_whole

ID = re.compile(r"[a-z0-9][a-z0-9-]*")
# Attributes that the law of many countries protects, by the words that columns are called by.
SENSITIVE = re.compile(
    r"(?<![a-z])(sex|gender|age|birth|race|ethnic|nationality|religion|marital|disab)", re.IGNORECASE
)
MOST_LEVELS = 50
TO_SAY = "to be said"


def draft(
    table: Path, root: Path, *, id: str = "", target: str, positive: str = "", time: str = "", group: str = ""
) -> Path:
    """Write `datasets/<id>/card.toml` below `root` and put a copy of the table beside it; returns the card's path.

    Raises `UsageError` when the id is taken or an option names no column or label, and `DataError` when the file is no
    table. Nothing that is there is overwritten.
    """
    id = id or re.sub(r"[^a-z0-9]+", "-", table.stem.lower()).strip("-")
    if not ID.fullmatch(id):
        raise UsageError(
            "not an id for a data set", got=repr(id), expected="such as my-loans", fix="give one with --id"
        )
    folder = root / "datasets" / id
    if folder.exists():
        raise UsageError("there is such a data set already", where=str(folder), fix="give another --id")
    frame, form = _read(table)
    for option, name in (("--target", target), ("--time", time), ("--group", group)):
        if name and name not in frame:
            expected = f"one of {', '.join(map(str, frame.columns))}"
            raise UsageError(f"{option} names no column", got=repr(name), expected=expected)
    if bad := [name for name in frame if not str(name).strip() or str(name).startswith(("_", "Unnamed:"))]:
        raise DataError("a column without a proper name", where=str(table), got=repr(bad[0]), fix="name it in the file")
    labels = frame[target].map(as_text).where(frame[target].notna())
    if labels.isna().any():
        first = int(labels.isna().to_numpy().nonzero()[0][0]) + 2
        raise DataError("a row without a label", where=f"{table}: {target}, line {first}", fix="leave such rows out")
    counts = {str(label): int(count) for label, count in labels.value_counts().sort_index().items()}
    if len(counts) != 2 or positive not in counts:
        got = ", ".join(f"{label} ({count:,})" for label, count in list(counts.items())[:10])
        fix = f"say by --positive which of the two means the event: {' or '.join(list(counts)[:2])}"
        raise UsageError("two labels are needed", where=f"{table}: {target}", got=got, fix=fix)
    text = "\n".join(_card(frame, table, id, form, target, positive, counts, time, group)) + "\n"
    try:
        with whole_file(folder / table.name) as copy:
            shutil.copyfile(table, copy)
        write_whole(folder / "card.toml", text)
        load_card(str(folder / "card.toml"))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder / "card.toml"


def _read(table: Path) -> tuple[pd.DataFrame, str]:
    """The table and its format: the separator that gives the most columns."""
    if not table.is_file():
        raise UsageError("no such file", got=str(table), expected="a CSV file")
    found: dict[str, pd.DataFrame] = {}
    for form in ("csv", "semicolon"):
        try:
            options: dict[str, Any] = {"sep": SEPARATORS[form], "keep_default_na": False, "na_values": MISSING}
            guessed, written = pd.read_csv(table, **options), pd.read_csv(table, **options, dtype="str")
            found[form] = written.assign(**{str(name): guessed[name] for name in guessed if _is_number(guessed[name])})
        except pd.errors.EmptyDataError:
            raise DataError("the file is empty", where=str(table), expected="a CSV file with a line of names") from None
        except UnicodeDecodeError:
            fix = "save it as UTF-8 (in a spreadsheet: CSV UTF-8)"
            raise DataError("not text in UTF-8", where=str(table), fix=fix) from None
        except pd.errors.ParserError:
            continue
    best = max(found, key=lambda form: found[form].shape[1], default=None)
    if best is None or found[best].shape[1] < 2 or found[best].empty:
        raise DataError("not a table with rows", where=str(table), expected="a CSV file, separated by , or ;")
    return found[best], best


def _card(
    frame: pd.DataFrame,
    table: Path,
    id: str,
    form: str,
    target: str,
    positive: str,
    counts: dict[str, int],
    time: str,
    group: str,
) -> Iterator[str]:
    kinds = {str(name): _kind(frame[name], str(name), target, {time, group}) for name in frame}
    identifier = next((name for name, kind in kinds.items() if kind == "id"), "")
    kinds = {name: "other" if kind == "id" and name != identifier else kind for name, kind in kinds.items()}
    features = [name for name, kind in kinds.items() if kind in ("number", "category") and name not in (time, group)]
    sensitive = [name for name in features if SENSITIVE.search(name)]
    yield from (
        "# Drafted by `espalier data draft` from the table. Read it all: kinds, ranges, codes are guesses.",
        f"id = {_toml(id)}",
        f"title = {_toml(f'{table.stem} ({len(frame):,} x {frame.shape[1]})')}",
        'task = "binary classification"',
        f"licence = {_toml(f'private; owner and permission {TO_SAY}')}",
        "redistributable = false",
        f"citation = {_toml(f'own data, {TO_SAY}')}",
    )
    if form != "csv":
        yield f"format = {_toml(form)}"
    yield from (f"rows = {len(frame)}", f"target = {_toml(target)}", f"positive = {_toml(positive)}  # the event")
    yield f"label_counts = {{ {', '.join(f'{_toml(label)} = {count}' for label, count in counts.items())} }}"
    if identifier:
        yield f"identifier = {_toml(identifier)}"
    yield from (f"{key} = {_toml(name)}" for key, name in (("group", group), ("time", time)) if name)
    yield f"sensitive = {_toml(sensitive)}  # guessed by name: kept out of models, compared in the fairness report"
    yield f"pitfalls = {_toml([f'{TO_SAY}: how the label comes about, which fields are known at the decision'])}"
    size, digest = table.stat().st_size, sha256(table)
    yield from ("", "[[files]]", f"path = {_toml(table.name)}", f"sha256 = {_toml(digest)}", f"bytes = {size}")
    for name, kind in kinds.items():
        yield from ("", "[[columns]]", f"name = {_toml(name)}", f"kind = {_toml(kind)}")
        yield f"description = {_toml(name.replace('_', ' '))}"
        yield from _details(frame[name], kind, name)


def _kind(column: pd.Series, name: str, target: str, keys: set[str]) -> str:
    if name == target:
        return "target"
    distinct, known = column.nunique(), column.notna().sum()
    number = _is_number(column)
    whole = number and bool((column.dropna() % 1 == 0).all())
    if name in keys:
        return "number" if number else "other"
    if distinct == len(column) and (not number or (whole and re.search(r"id|number|no$|key", name, re.IGNORECASE))):
        return "id"
    if number:
        return "category" if whole and distinct <= 2 else "number"
    return "category" if distinct <= min(MOST_LEVELS, max(2, known // 5)) else "other"


def _details(column: pd.Series, kind: str, name: str) -> Iterator[str]:
    known = column.dropna()
    if kind == "category":
        yield f"values = {_toml(sorted({as_text(value) for value in known}))}"
    if kind == "number" and len(known) and known.min() >= 0:
        yield "minimum = 0"
    if len(known) < len(column):
        yield "missing = true"
    if kind in ("number", "category") and (
        role := re.search(r"(?<![a-z])(sex|gender|age)(?![a-z])", name, re.IGNORECASE)
    ):
        word = "age" if role[1].lower() == "age" and kind == "number" else "sex" if role[1].lower() != "age" else ""
        if word:
            yield f"facts = {{ {word} = true }}"


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _toml(value: Any) -> str:
    """Text and lists of it as TOML, whose basic strings are JSON's."""
    return json.dumps(value, ensure_ascii=False)
