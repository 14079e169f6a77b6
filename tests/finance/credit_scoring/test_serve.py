from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from common.errors import SchemaError
from common.serving.app import create_app
from common.tables import score_file
from finance.credit_scoring import SYSTEM
from finance.credit_scoring.serve import CreditPredictor
from finance.credit_scoring.train import record_of

URL = "/v1/credit_scoring/predict"
WHAT_IF = "/v1/credit_scoring/what-if"


@pytest.fixture(scope="module")
def records(bundle, applicants):
    """Requests of 300 applicants and of the corners of what is accepted."""
    fields = CreditPredictor.load(bundle).fields
    found = [record_of(applicants, i, fields) for i in range(300)]
    for end in ("minimum", "maximum"):
        corner = {f.name: getattr(f, end) if f.kind == "number" else f.levels[-1] for f in fields}
        found.append({f.name: int(corner[f.name]) if f.integer else corner[f.name] for f in fields})
    found.append(found[0] | {"employment_years": None})
    found.append(found[0] | {"delinquencies_2y": -1, "inquiries_6m": -1})
    found.append(found[0] | {"income_monthly": 0.0})  # the derived field divides by it
    return found


@pytest.fixture(scope="module")
def client(bundle):
    predictor = CreditPredictor.load(bundle)
    with TestClient(create_app("finance", systems=[SYSTEM], predictors={SYSTEM.name: predictor})) as client:
        yield client


def test_batch_singles_and_table_give_the_same_bits(predictor, records, tmp_path):
    requests = [predictor.request.model_validate(record) for record in records]
    batch = predictor.predict(requests)
    assert [predictor.predict([request])[0] for request in requests] == batch
    assert predictor.predict(requests[::-1])[::-1] == batch

    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.Table.from_pylist(records), source)
    assert score_file(predictor, source, target, lambda rows, share: None) == len(records)
    table = pq.read_table(target).to_pydict()
    for name in ("score", "probability_of_default", "decision"):
        assert table[name] == [getattr(answer, name) for answer in batch]


def test_points_of_reasons_are_those_of_the_model_and_in_order(predictor, records):
    for record in records:
        answer = predictor.predict([predictor.request.model_validate(record)])[0]
        points = [reason.points for reason in answer.reasons]
        assert points == sorted(points)
        assert all(point < 0 for point in points)
        assert len(points) <= 4
        total, shares = predictor.model.score_one(predictor.complete(record))
        assert answer.score == total / predictor.model.resolution
        assert predictor.model.base + sum(shares) == total
        lost = sorted(share for share in shares if share < 0)[:4]
        assert points == [share / predictor.model.resolution for share in lost]


def test_the_decision_follows_the_cutoff_and_the_probability_the_score(predictor, records):
    answers = predictor.predict([predictor.request.model_validate(record) for record in records])
    assert {answer.decision for answer in answers} == {"approve", "decline"}
    for answer in answers:
        assert (answer.decision == "approve") == (answer.score >= answer.cutoff)
        assert answer.simulated
    ranked = sorted(answers, key=lambda answer: answer.score)
    probabilities = [answer.probability_of_default for answer in ranked]
    assert probabilities == sorted(probabilities, reverse=True)


def test_serving_does_not_import_what_only_training_needs(bundle):
    import subprocess
    import sys

    code = (
        "import sys; from common.bundle import load_bundle; from finance.credit_scoring.serve import CreditPredictor; "
        f"CreditPredictor.load(load_bundle({str(bundle.path)!r})); "
        "print([m for m in ('optbinning', 'xgboost', 'lightgbm', 'sklearn', 'pandas', 'mlflow') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_golden_examples_over_http(client, bundle):
    for pair in bundle.examples():
        assert client.post(URL, json=pair["request"]).json() == pair["response"]
    rows = [pair["request"] for pair in bundle.examples()]
    answers = client.post(f"{URL}/batch", json={"rows": rows}).json()["rows"]
    assert answers == [pair["response"] for pair in bundle.examples()]


@pytest.mark.parametrize(
    ("change", "field", "got", "expected"),
    [
        ({"incom": 1.0}, "incom", "an unknown field", None),
        ({"utilisation": "half"}, "utilisation", '"half"', "a number from 0 to 2"),
        ({"utilisation": 2.5}, "utilisation", "2.5", "a number from 0 to 2"),
        ({"loan_amount": 499.99}, "loan_amount", "499.99", "a number from 500 to"),
        ({"term_months": 12.5}, "term_months", "12.5", "a whole number from 6 to 120"),
        ({"term_months": 10**400}, "term_months", "1000", "a whole number from 6 to 120"),
        ({"housing": "castle"}, "housing", '"castle"', "one of own, mortgage, rent, parents"),
        ({"income_monthly": None}, "income_monthly", "null", "a number"),
        ({"income_monthly": True}, "income_monthly", "true", "a number"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_got_and_expected(client, records, change, field, got, expected):
    answer = client.post(URL, json=records[0] | change)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"] == field
    assert error["got"].startswith(got)
    assert expected is None or error["expected"].startswith(expected)


def test_a_required_field_is_asked_for_and_an_optional_one_is_not(client, records):
    def without(name):
        return client.post(URL, json={key: value for key, value in records[0].items() if key != name})

    assert without("employment_years").status_code == 200
    [error] = without("utilisation").json()["errors"]
    assert (error["field"], error["got"], error["fix"]) == ("utilisation", "nothing", "add it")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(client, records, text):
    body = json.dumps(records[0] | {"utilisation": 0.123456}).replace("0.123456", text)
    answer = client.post(URL, content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]


def test_what_if_over_http_is_approved_when_asked_again(client, records):
    declined = [record for record in records if client.post(URL, json=record).json()["decision"] == "decline"]
    seen = 0
    for record in declined[:20]:
        answer = client.post(WHAT_IF, json=record).json()
        assert answer["decision"] == "decline"
        if answer["changes"]:
            seen += 1
            wanted = {change["field"]: change["suggested"] for change in answer["changes"]}
            assert client.post(URL, json=record | wanted).json()["decision"] == "approve"
    assert seen
    approved = next(r for r in records if client.post(URL, json=r).json()["decision"] == "approve")
    answer = client.post(WHAT_IF, json=approved)
    assert (answer.json()["decision"], answer.json()["changes"]) == ("approve", [])
    assert client.post(WHAT_IF, json=approved | {"housing": "castle"}).status_code == 422


def test_what_if_says_who_answered_and_is_held_to_the_rules_of_predict(client, records):
    predicted, asked = (client.post(url, json=records[0]) for url in (URL, WHAT_IF))
    for header in ("x-model-version", "x-espalier-simulated"):
        assert asked.headers.get(header) == predicted.headers.get(header)
    assert asked.headers["x-model-version"]
    for field in ("model", "simulated"):
        assert asked.json()[field] == predicted.json()[field]
    assert client.post(WHAT_IF, content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    assert f'route="{WHAT_IF}",status="200"' in client.get("/metrics").text


def test_a_file_with_a_wrong_cell_is_refused_with_its_row_and_nothing_is_written(bundle, records, tmp_path):
    predictor = CreditPredictor.load(bundle)
    source, target = tmp_path / "in.parquet", tmp_path / "out.csv"
    pq.write_table(pa.Table.from_pylist([*records[:7], records[0] | {"utilisation": 9.0}]), source)
    with pytest.raises(SchemaError, match=r"column 'utilisation', row 8: out of range: got 9, expected .* from 0 to 2"):
        score_file(predictor, source, target, lambda rows, share: None)
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_scores_stay_in_the_range_of_the_tables(predictor):
    """Numbers beyond anything seen take the outermost bin; nothing overflows."""
    extreme = {f.name: np.array([-1e308, 1e308, math.inf, math.nan]) for f in predictor.fields if f.kind == "number"}
    extreme |= {f.name: (np.array([-1, 0, 0, 1]), ["no such", f.levels[0]]) for f in predictor.fields if f.levels}
    table = predictor.predict_table(extreme).to_pydict()
    assert all(0 <= p <= 1 for p in table["probability_of_default"])
    assert all(math.isfinite(score) for score in table["score"])
