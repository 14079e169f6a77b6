from __future__ import annotations

import json
import math
import re
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from common.errors import UsageError
from finance.credit_scoring.additive import AdditiveModel, Term
from finance.credit_scoring.compile import from_json, to_json, to_python, to_sql
from finance.credit_scoring.formula import Formula, sql_number
from finance.credit_scoring.serve import CreditPredictor

TABLE = 'applications "of" 2024'


def by_record(model: AdditiveModel, fields, records):
    """Scores and probabilities the way the service computes them."""
    formulas = {field.name: Formula(field.formula).on_record for field in fields if field.formula}
    completed = [record | {name: formula(record) for name, formula in formulas.items()} for record in records]
    scores = [model.score_one(record)[0] for record in completed]
    return scores, [model.scale.probability(score / model.resolution) for score in scores]


def by_python(source, records):
    scope: dict = {"__name__": "compiled"}
    exec(compile(source, "scorecard.py", "exec"), scope)
    scores = [scope["score"](record) for record in records]
    return scores, [scope["probability"](score) for score in scores]


def by_sqlite(model, fields, records, columns=""):
    names = [f.name for f in fields if not f.formula]
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    table = '"' + TABLE.replace('"', '""') + '"'
    database = sqlite3.connect(":memory:")
    database.execute(f'CREATE TABLE {table} ("row id", {columns or ", ".join(quoted)})')
    rows = [(i, *(record[name] for name in names)) for i, record in enumerate(records)]
    database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * (len(names) + 1))})", rows)
    found = database.execute(to_sql(model, fields, TABLE, key="row id") + ' ORDER BY "row id"').fetchall()
    assert [row[0] for row in found] == list(range(len(records)))
    return [row[1] for row in found], [row[2] for row in found]


@pytest.mark.parametrize("seed", range(12))
def test_python_sql_json_one_and_many_give_the_same_bits(toy, seed):
    model, fields = toy.model(seed, resolution=1 if seed % 3 else 1000), toy.fields
    records = toy.records(model, seed, 1500)
    expected = by_record(model, fields, records)
    assert len(set(expected[0])) > 50
    assert by_python(to_python(model, fields), records) == expected
    assert by_sqlite(model, fields, records) == expected
    assert by_record(*from_json(to_json(model, fields)), records) == expected

    raw = [f for f in fields if not f.formula]
    columns = toy.columns(records, raw)
    for field in fields:
        if field.formula:
            columns[field.name] = Formula(field.formula).on_columns(columns)
    many = model.score(columns)
    assert many.tolist() == expected[0]
    assert model.probability(many).tolist() == expected[1]
    assert by_python(to_python(model, fields), records[:1]) == by_record(model, fields, records[:1])


def test_a_trained_scorecard_compiles_from_its_bundle(bundle, applicants):
    predictor = CreditPredictor.of(bundle, "scorecard")
    names = [field.name for field in predictor.fields]
    frame = applicants.frame[names].astype(object).where(applicants.frame[names].notna(), None)
    records = frame.to_dict("records")
    program = [sys.executable, "-m", "finance.credit_scoring.compile", str(bundle.path), "python"]
    source = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    data = bundle.json("preprocess.json")
    fields = [type(predictor.fields[0]).model_validate(field) for field in data["fields"]]
    expected = by_record(predictor.model, fields, records)
    assert by_python(source, records) == expected
    assert by_sqlite(predictor.model, predictor.fields + [f for f in fields if f.formula], records) == expected


def test_the_compiled_module_needs_only_the_standard_library(toy, tmp_path):
    (tmp_path / "card.py").write_text(to_python(toy.model(1), toy.fields), encoding="utf-8")
    [record] = toy.records(toy.model(1), 5, 1)
    use = f"import card\nfrom math import nan, inf\nprint(card.score({record!r}))"
    (tmp_path / "use.py").write_text(use, encoding="utf-8")
    # -I -S: no site-packages, no user site; the folder of the script is not on the path either.
    run = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import use"
    out = subprocess.run([sys.executable, "-I", "-S", "-c", run], capture_output=True, text=True, check=True).stdout
    assert int(out) == by_record(toy.model(1), toy.fields, [record])[0][0]


def test_sqlite_rounds_every_probability_as_python(toy):
    """One term whose points are what is to be scored: 4,000 scores in a row."""
    model = toy.model(0)
    axis = next(a for a in model.axes if a.field == "income")
    single = AdditiveModel((Term((axis,), np.zeros(len(axis.cuts) + 5, np.int32)),), 0, 1, model.scale)
    select = to_sql(single, toy.fields, "t").partition("SELECT score, ")[2].partition(" AS prob")[0]
    scores = range(-1500, 2500)
    database = sqlite3.connect(":memory:")
    found = [database.execute(f"SELECT {select} FROM (SELECT ? AS score)", (s,)).fetchone()[0] for s in scores]
    assert found == [model.scale.probability(s) for s in scores]
    assert found[0] == 1.0
    assert found[-1] == 0.0


def test_sqlite_reads_every_number_as_the_same_float():
    """SQLite before 3.43 reads about one decimal in two thousand wrong by a bit."""
    rng = np.random.default_rng(0)
    numbers = [*rng.random(4000), *np.round(rng.uniform(0, 1e4, 8000), 6), *10 ** rng.uniform(-320, 308, 4000)]
    numbers += [0.0, 5e-324, 1.7976931348623157e308, -1e22, 0.1, 2.0**60]
    database = sqlite3.connect(":memory:")
    read = [database.execute(f"SELECT {sql_number(float(x), 'sqlite')}").fetchone()[0] for x in numbers]
    assert read == [float(x) for x in numbers]
    assert sql_number(0.35, "sqlite") == "0.35"


def test_a_missing_column_is_an_error_of_the_database_not_a_string(toy):
    model = toy.model(2)
    database = sqlite3.connect(":memory:")
    database.execute('CREATE TABLE t ("income", "loan", "term", "late payments", "grade")')
    with pytest.raises(sqlite3.OperationalError, match='so "called"'):
        database.execute(to_sql(model, toy.fields, "t"))


def test_sql_for_postgresql_knows_its_nan_and_names(toy):
    sql = to_sql(toy.model(0), toy.fields, "t", dialect="postgresql")
    assert """NULLIF(CAST(source."income" AS DOUBLE PRECISION), 'NaN')""" in sql
    assert "greatest(" in sql
    assert not re.search(r"\b(max|min)\(", sql)
    assert "/*" not in sql


def test_json_tells_how_to_score_and_reads_back_whole(toy):
    text = to_json(toy.model(3), toy.fields)
    data = json.loads(text)
    assert set(data["about"]) == {"score", "term", "bin", "formula", "probability_of_default"}
    assert json.loads(to_json(*from_json(text))) == data
    # Scored by what the text itself says, for a record whose number is at a cut.
    term = next(t for t in data["terms"] if t["field"] == "income" and t["cuts"])
    cut = term["cuts"][0]
    axis = next(a for a in toy.model(3).axes if a.field == "income")
    assert sum(c <= cut for c in term["cuts"]) == axis.bin(cut) == 1


def test_what_cannot_be_compiled_is_refused_in_one_sentence(bundle, toy):
    challenger = CreditPredictor.of(bundle, "challenger")
    for compiler in (to_python, to_json, lambda model, fields: to_sql(model, fields, "t")):
        with pytest.raises(UsageError, match=r"only a scorecard compiles: got \d+ terms of two fields, expected"):
            compiler(challenger.model, challenger.fields)
    with pytest.raises(UsageError, match="unknown SQL dialect: got 'oracle', expected sqlite or postgresql"):
        to_sql(toy.model(0), toy.fields, "t", dialect="oracle")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'score'"):
        to_sql(toy.model(0), toy.fields, "t", key="score")


def test_the_command_says_in_one_sentence_what_is_wrong(tmp_path):
    program = [sys.executable, "-m", "finance.credit_scoring.compile", str(tmp_path), "sql"]
    run = subprocess.run(program, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("espalier: ")
    assert "manifest.json" in run.stderr
    assert run.stdout == ""


def test_records_of_the_tests_hold_the_edges(toy):
    records = toy.records(toy.model(1), 1, 1500)
    values = [record["income"] for record in records]
    cuts = {cut for axis in toy.model(1).axes if axis.field == "income" for cut in axis.cuts}
    assert cuts <= set(values)
    assert {math.nextafter(cut, -math.inf) for cut in cuts} <= set(values)
    assert {1e308, -1e308, math.inf, None} <= set(values)
    assert any(record["loan"] == 7 for record in records)
    assert any(record["term"] == 0 for record in records)
    assert any(record["grade"] == "never seen" for record in records)
