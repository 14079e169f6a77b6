"""A scorecard as source text that runs without Espalier: Python, SQL and JSON.

All three give the score of `AdditiveModel.score` exactly, because points are whole numbers and cut points
are written as the same floats; the probability follows from the score by the same formula.

    python -m finance.credit_scoring.compile BUNDLE sql --table applications --key id
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from common.bundle import load_bundle
from common.errors import EspalierError, UsageError
from finance.credit_scoring.additive import AdditiveModel, Axis, Scale, Term, Value
from finance.credit_scoring.fields import CreditField
from finance.credit_scoring.formula import HELPERS, IN_SQL, Dialect, Formula, sql_number

ABOUT = {
    "score": "base + the points of every term, whole numbers; divide by resolution for points of the scale",
    "term": "points[bin of the record's field]; fields with a formula are computed first",
    "bin": "missing (null, NaN) goes to bin `missing`; a value listed in codes to its bin; a category not listed to "
    "bin `other`; any other number to the count of cuts at or below it",
    "formula": "missing when a field of it is missing, a divisor is 0 or the argument of log is not above 0",
    "probability_of_default": "1 / (1 + exp((score / resolution - base_score) * ln(2) / pdo + ln(base_odds))), "
    "rounded to 6 places",
}

PYTHON = '''"""A credit scorecard: `score(record)` in points, `probability(score)` of default. Needs only Python.

A record is a dictionary with the fields {fields}; None is missing.
"""

from bisect import bisect_right
from math import exp, log
{helpers}{derived}

BASE = {base}
# (field, cuts, points of the intervals up to each cut and above, points of special codes, points when missing)
NUMBERS = {numbers}
# (field, points of levels, points when missing, points of a level never seen)
CATEGORIES = {categories}
DERIVED = {{{names}}}


def score(record):
    """Whole points{unit}; more is safer."""
    record = {{**record, **{{field: formula(record) for field, formula in DERIVED.items()}}}}
    total = BASE
    for field, cuts, points, codes, missing in NUMBERS:
        value = record[field]
        if value is None or value != value:
            total += missing
        elif value in codes:
            total += codes[value]
        else:
            total += points[bisect_right(cuts, value)]
    for field, points, missing, unseen in CATEGORIES:
        value = record[field]
        total += missing if value is None or value != value else points.get(value, unseen)
    return total


def probability(score):
    """Probability of default at a score, to six places."""
    exponent = (score / {resolution} - {base_score!r}) / {factor!r} + {offset!r}
    return round(1 / (1 + exp(min(exponent, 700.0))), 6)
'''


def to_python(model: AdditiveModel, fields: Sequence[CreditField]) -> str:
    """Source of a module with `score(record) -> int` and `probability(score) -> float`; only the standard library.

    Raises `UsageError` for a model with terms of two fields.
    """
    terms, derived, raw = _single(model), _derived(model, fields), _raw(model, fields)
    names = {name: f"derived_{i}" for i, name in enumerate(derived, start=1)}
    functions = "".join(
        f"\n\ndef {names[name]}(record):\n    # {name} = {formula.text}\n{formula.python('record', '    ')}\n"
        for name, formula in derived.items()
    )
    numbers, categories = [], []
    for axis, points in terms:
        codes = {code: points[place] for code, place in axis.codes.items()}
        if axis.categorical:
            categories.append((axis.field, codes, points[axis.missing], points[axis.other]))
        else:
            numbers.append((axis.field, axis.cuts, points[: len(axis.cuts) + 1], codes, points[axis.missing]))
    return PYTHON.format(
        fields=", ".join(field.name for field in raw).replace("\\", "\\\\").replace('"', '\\"'),
        helpers=HELPERS if derived else "",
        derived=functions,
        base=model.base,
        numbers=_python_list(numbers),
        categories=_python_list(categories),
        names=", ".join(f"{name!r}: {function}" for name, function in names.items()),
        unit="" if model.resolution == 1 else f" of 1/{model.resolution}",
        resolution=model.resolution,
        base_score=model.scale.base_score,
        factor=model.scale.factor,
        offset=math.log(model.scale.base_odds),
    )


def to_sql(
    model: AdditiveModel, fields: Sequence[CreditField], table: str, key: str | None = None, dialect: Dialect = "sqlite"
) -> str:
    """A SELECT of `score` (whole, in 1/resolution points) and `probability_of_default` for every row of `table`.

    `key` is a column carried over. Numbers are cast to double precision; NULL is missing, and in PostgreSQL
    NaN too (there a formula that overflows is an error of the database). SQLite needs its mathematical
    functions (built in since 3.35 unless switched off). Raises `UsageError` for a model with terms of two
    fields, an unknown dialect, or a key of a name in the result.
    """
    if dialect not in get_args(Dialect):
        raise UsageError("unknown SQL dialect", got=repr(dialect), expected=" or ".join(get_args(Dialect)))
    if key in ("score", "probability_of_default"):
        raise UsageError("the key has the name of a result", got=repr(key), fix="rename it in a view")
    terms, derived, raw = _single(model), _derived(model, fields), _raw(model, fields)
    # Qualified: SQLite reads an unknown "name" alone as a string.
    inputs = [f'source.{_name(key)} AS "row key"'] if key else []
    inputs += [_input(field, dialect) for field in raw]
    steps = {"applicants": f"SELECT {_lines(inputs)}\n  FROM {_name(table)} AS source"}
    last = "applicants"
    if derived:
        formulas = [f"{formula.sql(dialect)} AS {_name(name)}" for name, formula in derived.items()]
        steps["completed"] = f"SELECT {_lines(['applicants.*', *formulas])}\n  FROM applicants"
        last = "completed"
    total = "\n    + ".join([str(model.base), *(_case(axis, points, dialect) for axis, points in terms)])
    steps["scored"] = f"""SELECT {'"row key", ' if key else ""}{total} AS score\n  FROM {last}"""
    selected = [f'"row key" AS {_name(key)}'] if key else []
    selected += ["score", f"{_probability(model, dialect)} AS probability_of_default"]
    with_ = ",\n".join(f"{name} AS (\n  {query}\n)" for name, query in steps.items())
    return f"WITH {with_}\nSELECT {', '.join(selected)}\nFROM scored\n"


def to_json(model: AdditiveModel, fields: Sequence[CreditField]) -> str:
    """The scorecard as one documented JSON object. Raises `UsageError` for a model with terms of two fields."""
    wanted = {field.name for field in _raw(model, fields)} | set(model.fields)
    return json.dumps(
        {
            "about": ABOUT,
            "scale": model.scale.model_dump(),
            "resolution": model.resolution,
            "base": model.base,
            "terms": [axis.to_json() | {"points": points} for axis, points in _single(model)],
            "fields": [field.model_dump(mode="json") for field in fields if field.name in wanted],
        },
        indent=1,
        ensure_ascii=False,
        allow_nan=False,
    )


def from_json(text: str) -> tuple[AdditiveModel, list[CreditField]]:
    """The model and its fields from `to_json`."""
    data = json.loads(text)
    terms = tuple(Term((Axis.from_json(term),), np.array(term["points"], dtype=np.int32)) for term in data["terms"])
    model = AdditiveModel(terms, data["base"], data["resolution"], Scale(**data["scale"]))
    return model, [CreditField.model_validate(field) for field in data["fields"]]


def _single(model: AdditiveModel) -> list[tuple[Axis, list[int]]]:
    """Axis and points of every term."""
    pairs = sum(len(term.axes) > 1 for term in model.terms)
    if pairs:
        raise UsageError(
            "only a scorecard compiles", got=f"{pairs} terms of two fields", expected="terms of one field each"
        )
    return [(term.axes[0], term.table.tolist()) for term in model.terms]


def _derived(model: AdditiveModel, fields: Sequence[CreditField]) -> dict[str, Formula]:
    return {field.name: Formula(field.formula) for field in fields if field.formula and field.name in model.fields}


def _raw(model: AdditiveModel, fields: Sequence[CreditField]) -> list[CreditField]:
    """Fields a record must have: those of terms and those that formulas read."""
    read = {name for formula in _derived(model, fields).values() for name in formula.fields}
    return [field for field in fields if not field.formula and field.name in read | set(model.fields)]


def _python_list(rows: Sequence[tuple[Any, ...]]) -> str:
    return "[\n" + "".join(f"    {row!r},\n" for row in rows) + "]"


def _input(field: CreditField, dialect: Dialect) -> str:
    column = f"source.{_name(field.name)}"
    if field.kind == "number":
        column = f"CAST({column} AS DOUBLE PRECISION)"
        if dialect == "postgresql":  # there NaN is a value of its own, above all numbers
            column = f"NULLIF({column}, 'NaN')"
    return f"{column} AS {_name(field.name)}"


def _case(axis: Axis, points: Sequence[int], dialect: Dialect) -> str:
    """Missing first, then codes, then cuts upwards."""
    column = _name(axis.field)
    branches = [f"WHEN {column} IS NULL THEN {points[axis.missing]}"]
    places: dict[int, list[Value]] = {}
    for code, place in axis.codes.items():
        places.setdefault(points[place], []).append(code)
    for worth, codes in places.items():
        listed = ", ".join(_literal(code, axis.categorical, dialect) for code in codes)
        branches.append(f"WHEN {column} IN ({listed}) THEN {worth}")
    for cut, worth in zip(axis.cuts, points, strict=False):
        branches.append(f"WHEN {column} < {sql_number(cut, dialect)} THEN {worth}")
    rest = points[axis.other if axis.categorical else len(axis.cuts)]
    return "CASE " + "\n      ".join([*branches, f"ELSE {rest} END"])


def _literal(code: Any, categorical: bool, dialect: Dialect) -> str:
    if isinstance(code, str):
        return "'" + code.replace("'", "''") + "'"
    return str(code) if categorical else sql_number(code, dialect)


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _lines(items: Sequence[str]) -> str:
    return ",\n    ".join(items)


def _probability(model: AdditiveModel, dialect: Dialect) -> str:
    scale = model.scale
    base_score, factor, offset = (
        sql_number(x, dialect) for x in (scale.base_score, scale.factor, math.log(scale.base_odds))
    )
    exponent = f"(CAST(score AS DOUBLE PRECISION) / {model.resolution} - {base_score}) / {factor} + {offset}"
    lowest, highest = IN_SQL[dialect]["min"], IN_SQL[dialect]["max"]
    # PostgreSQL refuses an exp() that underflows. Round whole millionths: SQLite's round(x, 6) may miss by a bit.
    bounded = f"{highest}({lowest}({exponent}, 700.0), -700.0)"
    return f"round(1000000.0 / (1 + exp({bounded}))) / 1000000.0"


def compile_bundle(path: str, language: str, options: Mapping[str, Any]) -> str:
    """The scorecard of a bundle as `python`, `sql` (options `table`, `key`, `dialect`) or `json`."""
    bundle = load_bundle(path)
    data = bundle.json("preprocess.json")
    model = AdditiveModel.from_json(data["models"]["scorecard"], bundle.arrays("scorecard.safetensors"))
    fields = [CreditField.model_validate(field) for field in data["fields"]]
    if language == "sql":
        return to_sql(model, fields, **options)
    return (to_python if language == "python" else to_json)(model, fields)


def main() -> None:
    """Print the source; an `EspalierError` is one sentence on stderr."""
    parser = argparse.ArgumentParser(description="Print a bundle's scorecard as source text.")
    parser.add_argument("bundle", help="folder of a trained bundle")
    parser.add_argument("language", choices=("python", "sql", "json"))
    parser.add_argument("--table", default="applications", help="SQL: table to score")
    parser.add_argument("--key", help="SQL: column carried over to name the rows")
    parser.add_argument("--dialect", default="sqlite", choices=get_args(Dialect))
    options = vars(parser.parse_args())
    try:
        print(compile_bundle(options.pop("bundle"), options.pop("language"), options))
    except EspalierError as error:
        print(f"espalier: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
