"""Credit scoring on a table of one's own: other columns, other label, roles and facts from its card."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

from common.bundle import load_bundle
from common.config import build_config, settings
from common.data.draft import draft
from common.errors import DataError
from common.serving.app import create_app
from common.system import find
from finance.credit_scoring.config import PRESETS, Config
from finance.credit_scoring.data import load
from finance.credit_scoring.evaluate import evaluate
from finance.credit_scoring.train import train

QUICK = ["dataset=loans", "challenger.bags=1", "challenger.boosting.rounds=20", "challenger.library=lightgbm"]


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """15 columns, 900 loans; some people borrow twice."""
    rng, n = np.random.default_rng(3), 900
    income, amount = np.exp(rng.normal(10.4, 0.5, n)).round(2), np.exp(rng.normal(9, 0.8, n)).round(-1)
    frame = pd.DataFrame(
        {
            "Loan Ref": [f"L{i}" for i in range(n)],
            "customer": rng.integers(0, 800, n),
            "opened": (pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(rng.integers(0, 700, n)), "D")).strftime(
                "%d %b %Y"
            ),
            "gender": rng.choice(["F", "M"], n),
            "Age": rng.integers(19, 80, n),
            "AnnualIncome": income,
            "LoanAmount": amount,
            "tenor months": rng.choice([6, 12, 24, 36], n),
            "region": rng.choice(["North", "South", "None"], n),
            "employment": rng.choice(["salaried", "self-employed", ""], n),
            "homeowner": rng.choice(["true", "false"], n),
            "arrears": rng.poisson(0.6, n),
            "bureau score": np.where(rng.random(n) < 0.1, np.nan, rng.normal(620, 70, n).round()),
            "grade": np.where(rng.random(n) < 0.1, "", rng.choice(["1", "2"], n)),
        }
    )
    risk = -1.6 + 3 * amount / income + 0.8 * frame["arrears"] - 0.6 * (frame["homeowner"] == "true")
    frame["outcome"] = np.where(rng.random(n) < 1 / (1 + np.exp(-risk)), "charged off", "fully paid")
    assert frame.shape[1] == 15
    path = tmp_path_factory.mktemp("own") / "loans.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ESPALIER_OFFLINE", "true")
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def drafted(project: Path, table: Path, facts: dict[str, str] | None = None, **options: str) -> None:
    path = draft(table, project, target="outcome", positive="charged off", **options)
    text = path.read_text()
    for name, value in (facts or {}).items():
        start = text.index(f'name = "{name}"')
        end = text.find("\n\n", start)
        text = text[:end] + f"\nfacts = {{ {value} }}" + text[end:]
    path.write_text(text)


def config(*overrides: str) -> Config:
    return build_config(Config, PRESETS, "reference", [*QUICK, *overrides])


def test_from_a_table_to_a_report_and_a_service(project, table) -> None:
    facts = {"LoanAmount": 'risk = 1, change = "lower", amount = true', "arrears": "risk = 1, integer = true"}
    drafted(project, table, facts, group="customer")
    bundle = train(config("cutoff=profit"))
    assert bundle.json("metrics.json")["valid_auc"] > 0.6
    assert not bundle.manifest.simulated
    report, sections = evaluate(load_bundle(bundle.path))
    assert (report.dataset, report.published) == ("loans", [])
    assert {"Fairness by sex", "Fairness by age"} <= {section.title for section in sections}
    request = bundle.examples()[0]["request"]
    assert not {"gender", "Age", "Loan Ref", "customer", "opened"} & set(request)
    app = create_app("finance", {"finance.credit_scoring": bundle.path}, systems=[find("finance.credit_scoring")])
    with TestClient(app) as client:
        answer = client.post("/v1/credit_scoring/predict", json=request | {"LoanAmount": 90_000})
        assert answer.status_code == 200, answer.text
        assert answer.json()["decision"] == "decline"
        wrong = client.post("/v1/credit_scoring/predict", json=request | {"region": "West"})
        assert wrong.status_code == 422
        assert "one of" in json.dumps(wrong.json()) or "North" in json.dumps(wrong.json())
        advice = client.post("/v1/credit_scoring/what-if", json=request | {"LoanAmount": 90_000}).json()
        assert {change["field"] for change in advice["changes"] or []} <= {"LoanAmount"}


def test_time_and_group_rule_the_split(project, table) -> None:
    drafted(project, table, time="opened")
    data = load(config())
    assert data.month is not None
    parts = data.split(0)
    assert parts["train"].month.max() < parts["valid"].month.min()
    assert parts["valid"].month.max() < parts["test"].month.min()
    drafted(project, table, id="grouped", group="customer")
    data = load(config("dataset=grouped"))
    owners = pd.read_csv(table)["customer"].to_numpy()
    sides = [set(owners[part.row]) for part in data.split(0).values()]
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    assert "customer" not in {field.name for field in data.fields}


def test_without_sex_and_age_the_report_has_no_part_on_fairness(project, table, tmp_path) -> None:
    plain = tmp_path / "plain.csv"
    pd.read_csv(table, keep_default_na=False).drop(columns=["gender", "Age"]).to_csv(plain, index=False)
    drafted(project, plain, id="loans")
    _, sections = evaluate(train(config()))
    assert not [section.title for section in sections if "Fairness" in section.title]


@pytest.mark.parametrize(
    ("facts", "options", "sentence"),
    [
        ({"arrears": "risk = 2"}, {}, "loans: arrears: facts: risk: malformed card: got 2"),
        (
            {"arrears": "danger = 1"},
            {},
            "facts: danger: malformed card: got 1, expected Extra inputs are not permitted; known are",
        ),
        ({}, {"time": "region"}, "loans: region: not a date: got '"),
        ({}, {"time": "grade"}, "grade"),
    ],
)
def test_what_a_card_gets_wrong_is_one_sentence(project, table, facts, options, sentence) -> None:
    drafted(project, table, facts, **options)
    with pytest.raises(DataError) as refused:
        load(config())
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_too_few_rows_are_one_sentence(project, table, tmp_path) -> None:
    few = tmp_path / "few.csv"
    pd.read_csv(table, keep_default_na=False).head(20).to_csv(few, index=False)
    drafted(project, few, id="loans")
    with pytest.raises(DataError, match=r"part (train|valid|test): too few rows to learn from and to judge by"):
        load(config()).split(0)
