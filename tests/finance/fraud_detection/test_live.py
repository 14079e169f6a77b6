from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi.testclient import TestClient

from common.config import settings
from common.serving.app import create_app
from common.serving.security.keyfile import create_key
from finance.fraud_detection import SYSTEM
from finance.fraud_detection.clock import DAY
from finance.fraud_detection.data import load
from finance.fraud_detection.fit import Features
from finance.fraud_detection.prequential import moment_of
from finance.fraud_detection.serve import FraudPredictor
from finance.fraud_detection.train import told

ROOT = "/v1/fraud_detection"


@contextmanager
def served(bundle, home, monkeypatch, **environment):
    """A client of the service with a home of its own."""
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"ESPALIER_HOME": str(home), **environment}.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    try:
        with TestClient(create_app("finance", {SYSTEM.name: bundle.path}, systems=[SYSTEM])) as client:
            yield client
    finally:
        settings.cache_clear()


@pytest.fixture
def client(bundle, tmp_path, monkeypatch):
    with served(bundle, tmp_path, monkeypatch) as client:
        yield client


@pytest.fixture(scope="module")
def later(bundle, config):
    """Transactions of the test period as requests, and the events themselves."""
    events = load(config)
    moment = moment_of(config, events)
    some = np.flatnonzero((events.time >= moment.at) & (events.time < moment.at + 2 * DAY))
    requests = [
        {
            "id": str(events.id[i]),
            "time": told(int(events.time[i])),
            "amount": int(events.amount[i]) / 100,
            "currency": "EUR",
            "customer": str(events.entities["customer"][i]),
            "terminal": str(events.entities["terminal"][i]),
        }
        for i in some
    ]
    return SimpleNamespace(events=events, rows=some, requests=requests, moment=moment)


def until(condition):
    """Wait for what a thread does; it takes milliseconds."""
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


@pytest.mark.parametrize("kind", ["bundle", "sequence_bundle"])
def test_the_service_scores_a_stream_as_history_does(request, kind, later, tmp_path, monkeypatch):
    """The same transactions and labels, one service and one table: the same scores to the last bit."""
    bundle = request.getfixturevalue(kind)
    events, rows = later.events, later.rows
    end = later.moment.at + 2 * DAY
    known = np.flatnonzero((events.label_time > later.moment.at) & (events.label_time <= end))
    labels = [
        {
            "transaction": str(events.id[i]),
            "fraud": int(events.fraud[i]),
            "label_time": int(events.label_time[i]),
            "source": "bank",
        }
        for i in known
    ]
    found = []
    with served(bundle, tmp_path, monkeypatch) as client:
        for first in range(0, len(labels), 1000):  # told early: they count from their own time on
            reply = client.post(f"{ROOT}/labels", json={"labels": labels[first : first + 1000]})
            assert reply.status_code == 200, reply.text
        for first in range(0, len(rows), 700):
            reply = client.post(f"{ROOT}/transactions/batch", json={"rows": later.requests[first : first + 700]})
            found += [answer["score"] for answer in reply.json()["rows"]]
    predictor = FraudPredictor.load(bundle)
    inputs = Features(predictor.definition, events, [SimpleNamespace(train=rows, test=rows)]).at(rows)
    intercept, slope = predictor.kept["calibration"]
    expected = 1 / (1 + np.exp(-(intercept + slope * predictor.model.predict(*inputs))))
    assert len(known) > 500
    assert found == expected.tolist()


def test_serving_does_not_import_what_only_training_needs(sequence_bundle):
    code = (
        "import sys; from common.bundle import load_bundle; import finance.fraud_detection.routes; "
        "from finance.fraud_detection.serve import FraudPredictor as Predictor; "
        f"Predictor.load(load_bundle({str(sequence_bundle.path)!r})); "
        "print([m for m in ('torch', 'xgboost', 'lightgbm', 'sklearn', 'pandas', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_looking_remembers_nothing_and_taking_does(client, later):
    request = later.requests[0]
    again = request | {"id": "again", "time": told(int(later.events.time[later.rows[0]]) + 60_000)}
    looked = [client.post(f"{ROOT}/predict", json=again).json()["score"] for _ in range(2)]
    assert looked[0] == looked[1]
    taken = client.post(f"{ROOT}/transactions", json=request)
    assert taken.status_code == 200
    assert not taken.json()["duplicate"]
    assert client.get(f"{ROOT}/state").json()["counted"]["transactions"] == 1
    assert client.post(f"{ROOT}/predict", json=again).json()["score"] != looked[0]


def test_the_same_id_again_is_a_duplicate_and_with_another_content_refused(client, later):
    request = later.requests[1]
    first = client.post(f"{ROOT}/transactions", json=request).json()
    second = client.post(f"{ROOT}/transactions", json=request).json()
    assert second == first | {"duplicate": True}
    other = client.post(f"{ROOT}/transactions", json=request | {"amount": 1.0})
    assert other.status_code == 409
    assert other.json()["detail"].startswith("id: this id was used for another transaction: got")
    counted = client.get(f"{ROOT}/state").json()["counted"]
    assert counted["duplicates"] == 1
    assert counted["changed"] == 1


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"currency": "USD"}, 422, "currency: not accepted: got \"USD\", expected 'EUR'"),
        ({"amount": -1}, 422, "amount: not accepted: got -1, expected"),
        ({"amount": 1.234}, 422, "amount: not accepted: got 1.234, expected at most 2 decimals, as EUR has no more"),
        ({"time": "2018-06-01T10:00:00"}, 422, "time: not accepted"),
        ({"time": "2017-01-01T00:00:00Z"}, 422, "time: too old to be counted: got 2017-01-01"),
        ({"time": "2117-01-01T00:00:00Z"}, 422, "time: in the future: got 2117-01-01"),
        ({"customer": ""}, 422, "customer: not accepted"),
        ({"customer": None}, 422, "customer: not accepted"),
        ({"colour": "red"}, 422, "colour: "),
    ],
)
def test_a_bad_transaction_is_one_sentence_and_holds_up_no_other(client, later, change, status, sentence):
    reply = client.post(f"{ROOT}/transactions", json=later.requests[2] | change)
    assert reply.status_code == status
    assert reply.json()["detail"].startswith(sentence)
    assert reply.headers["content-type"] == "application/problem+json"


def test_a_refused_transaction_of_a_batch_leaves_the_others(client, later):
    good = later.requests[2]
    late = later.requests[3] | {"time": "2017-01-01T00:00:00Z"}
    ahead = later.requests[4] | {"time": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
    wrong = [later.requests[5] | {"amount": -1}, later.requests[5] | {"currency": "XYZ"}, {"id": "x"}]
    rows = client.post(f"{ROOT}/transactions/batch", json={"rows": [late, good, ahead, *wrong]}).json()["rows"]
    assert [row.get("status") for row in rows] == [422, None, 422, 422, 422, 422]
    assert rows[3]["detail"].startswith("amount: not accepted: got -1")
    assert rows[1]["decision"] in ("approve", "review", "decline")
    counted = client.get(f"{ROOT}/state").json()["counted"]
    assert counted["too old"] == counted["in the future"] == 1


def test_an_unknown_terminal_is_scored_without_its_history(client, later):
    reply = client.post(f"{ROOT}/transactions", json=later.requests[5] | {"terminal": None})
    assert reply.status_code == 200


def test_an_alert_becomes_a_case_with_reasons_and_its_verdict_a_label(client, bundle):
    worst = max((pair["request"] for pair in bundle.examples()), key=lambda request: request["amount"])
    answer = client.post(f"{ROOT}/transactions", json=worst | {"id": "worst"}).json()
    assert answer["decision"] in ("review", "decline")
    assert answer["reasons"][0]["adds"] >= answer["reasons"][-1]["adds"] > 0
    assert answer["simulated"]
    until(lambda: client.get(f"{ROOT}/cases").json()["cases"])
    case = client.get(f"{ROOT}/cases/worst").json()
    assert case["score"] == answer["score"]
    assert case["reasons"] == answer["reasons"]
    assert case["entities"] == {"customer": worst["customer"], "terminal": worst["terminal"]}
    body = {"verdict": "fraud", "person": "ann"}
    assert client.post(f"{ROOT}/cases/worst/verdict", json=body).status_code == 200
    assert client.get(f"{ROOT}/state").json()["counted"]["labels"] == 1
    told_metrics = client.get("/metrics").text
    assert 'espalier_fraud_events_total{what="labels"} 1.0' in told_metrics
    assert 'espalier_fraud_state{of="transactions"}' in told_metrics


def test_rules_decide_beside_the_model_and_every_decision_names_their_version(client, later):
    rules = {
        "rules": [
            {"name": "all", "when": "amount >= 0", "action": "review", "mode": "live", "reason": "a bad day"},
            {"name": "trial", "when": "score >= 0", "action": "decline", "mode": "shadow", "reason": "on trial"},
        ],
        "lists": [{"list": "block", "entity": "customer", "value": later.requests[6]["customer"]}],
    }
    before = client.post(f"{ROOT}/transactions", json=later.requests[5]).json()
    assert before["rule_version"] == 0
    assert client.post(f"{ROOT}/rules", json=rules).json() == {"version": 1}
    held = client.post(f"{ROOT}/transactions", json=later.requests[7] | {"customer": "somebody"}).json()
    assert (held["decision"], held["by"], held["rules"], held["shadow_rules"]) == ("review", "rule", ["all"], ["trial"])
    assert held["told"] == ["a bad day"]
    blocked = client.post(f"{ROOT}/transactions", json=later.requests[6]).json()
    assert (blocked["decision"], blocked["by"], blocked["rule_version"]) == ("decline", "list", 1)
    rules["rules"][0]["when"] = "amout >= 0"
    refused = client.post(f"{ROOT}/rules", json=rules)
    assert refused.status_code == 422
    assert "did you mean" in refused.json()["detail"]
    assert client.post(f"{ROOT}/rules", json={"rules": []}).json() == {"version": 2}
    assert client.post(f"{ROOT}/rules/restore", json={"version": 1}).json() == {"version": 3}
    assert client.get(f"{ROOT}/rules").json()["rules"][0]["name"] == "all"
    assert client.post(f"{ROOT}/rules/restore", json={"version": 9}).status_code == 422


def test_a_service_that_starts_again_knows_what_it_knew(bundle, later, tmp_path, monkeypatch):
    scores = []
    for _ in range(2):
        with served(bundle, tmp_path, monkeypatch) as client:
            if not scores:
                assert client.post(f"{ROOT}/transactions/batch", json={"rows": later.requests[:300]}).status_code == 200
            asked = later.requests[400]
            scores.append(client.post(f"{ROOT}/transactions", json=asked).json())
    assert scores[1] == scores[0] | {"duplicate": True}


def test_without_redis_every_transaction_is_reviewed_and_says_so(bundle, later, tmp_path, monkeypatch):
    url = "redis://127.0.0.1:1/0"
    with served(bundle, tmp_path, monkeypatch, ESPALIER_REDIS_URL=url) as client:
        answer = client.post(f"{ROOT}/transactions", json=later.requests[0])
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["degraded"], told["by"], told["decision"], told["score"]) == (True, "fallback", "review", None)
        assert client.get(f"{ROOT}/state").json()["counted"]["degraded"] == 1


def test_the_examples_in_openapi_work_as_they_stand(client):
    paths = client.get("/openapi.json").json()["paths"]
    for route, field in (("transactions", "decision"), ("transactions/batch", "rows")):
        body = paths[f"{ROOT}/{route}"]["post"]["requestBody"]["content"]["application/json"]
        reply = client.post(f"{ROOT}/{route}", json=body["example"])
        assert reply.status_code == 200
        assert field in reply.json()


def test_a_key_may_do_what_its_scopes_say_and_no_more(bundle, later, tmp_path, monkeypatch):
    who = {"teller": "predict:fraud_detection", "analyst": "cases:fraud_detection", "author": "rules:fraud_detection"}
    file = tmp_path / "keys.json"
    keys = {name: create_key(file, (scope,))[0] for name, scope in (who | {"bank": "feedback"}).items()}
    labels = {"labels": [{"transaction": "x", "fraud": 1, "label_time": 1, "source": "bank"}]}
    rules = {"rules": []}
    opened = {
        ("post", "transactions"): (later.requests[0], {"teller"}),
        ("post", "transactions/batch"): ({"rows": later.requests[:1]}, {"teller"}),
        ("get", "state"): (None, {"teller"}),
        ("get", "cases"): (None, {"analyst"}),
        ("get", "cases/summary"): (None, {"analyst"}),
        ("post", "labels"): (labels, {"bank"}),
        ("get", "rules"): (None, {"teller", "author"}),
        ("post", "rules/backtest"): (rules, {"teller", "author"}),
        ("post", "rules"): (rules, {"author"}),
        ("post", "rules/restore"): ({"version": 1}, {"author"}),
    }
    with served(bundle, tmp_path, monkeypatch, ESPALIER_KEYS_FILE=str(file)) as client:
        for (method, path), (body, may) in opened.items():
            given = {} if body is None else {"json": body}
            passed = set()
            for name, key in keys.items():
                reply = client.request(method, f"{ROOT}/{path}", headers={"x-api-key": key}, **given)
                assert reply.status_code in (200, 403), (path, name, reply.text)
                passed |= {name} if reply.status_code == 200 else set()
            assert passed == may, path
        told = client.get("/openapi.json", headers={"x-api-key": keys["bank"]}).json()["paths"]
    assert told[f"{ROOT}/cases"]["get"]["security"][0] == {"bearer": ["cases:fraud_detection"]}


def test_golden_requests_one_by_one_and_together_are_the_same(bundle):
    predictor = FraudPredictor.load(bundle)
    requests = [predictor.request.model_validate_json(json.dumps(p["request"])) for p in bundle.examples()]
    alone = [predictor.predict([request])[0] for request in requests]
    assert predictor.predict(requests[::-1]) == alone[::-1]


def test_decisions_on_transactions_are_on_record_and_watched(client, later):
    one = client.post(f"{ROOT}/transactions", json=later.requests[0])
    kept = client.get(f"/v1/decisions/{one.headers['x-decision-id']}").json()
    assert kept["output"] == one.json()
    assert kept["inputs"]["amount"] == later.requests[0]["amount"]
    assert kept["version"] == one.headers["x-model-version"]
    old = later.requests[1] | {"time": "2018-01-01T00:00:00Z"}
    many = client.post(f"{ROOT}/transactions/batch", json={"rows": [old, *later.requests[1:400]]})
    assert many.json()["rows"][0]["status"] == 422
    kept = client.get(f"/v1/decisions/{many.headers['x-decision-id']}.398").json()
    assert kept["output"] == many.json()["rows"][399]
    monitor = client.app.state.slots[0].monitor
    monitor.limits = replace(monitor.limits, rows_per_s=10**6)  # all of them, whatever the time between
    monitor.fold()
    report = monitor.judge()
    assert report.seen == 400
    assert {field.name for field in report.fields} == {"amount", "score", "anomaly"}
    assert not report.alarms
    client.post(f"{ROOT}/transactions/batch", json={"rows": [dear(row) for row in later.requests[400:1400]]})
    monitor.fold()
    found = monitor.judge()
    assert any(alarm.field == "amount" for alarm in found.alarms), found


def dear(request):
    return request | {"amount": round(request["amount"] * 10, 2)}
