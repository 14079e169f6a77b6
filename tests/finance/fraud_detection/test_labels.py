"""Verdicts of the queue into the table that training reads, through the command."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.config import settings
from common.monitoring.retrain import RetrainDecision, run_hook
from common.monitoring.run import Policies
from finance.fraud_detection import labels
from finance.fraud_detection.case_records import Alert, Label
from finance.fraud_detection.cases import open_queue
from finance.fraud_detection.clock import DAY
from finance.fraud_detection.config import Config
from finance.fraud_detection.data import load
from finance.fraud_detection.definition import Definition
from finance.fraud_detection.fit import table_of
from finance.fraud_detection.history import history
from finance.fraud_detection.simulator import SIMULATED
from finance.fraud_detection.train import told

T = 1_780_000_000_000
ID = ["a", "b", "c", "d", "e"]
TABLE = {
    "id": ID,
    "time": [told(T + place * 1000) for place in range(5)],
    "amount": ["1.50", "2", "3.00", "4.10", "5"],
    "currency": ["EUR"] * 5,
    "customer": ["0017", "0018", "0017", "", "0019"],
    "terminal": ["T1", "T2", "T3", "T4", "T5"],
}
ALERT = {"amount": 100, "currency": "EUR", "entities": {}, "score": 0.9, "decision": "review", "model": "m"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with an empty queue."""
    for name in ("DATABASE_URL", "ESPALIER_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def say(*said: tuple[str, int, int]) -> None:
    """Labels (transaction, fraud, label_time) into the queue."""
    queue = open_queue(settings())
    queue.label([Label(transaction=id, fraud=fraud, label_time=at, source="bank") for id, fraud, at in said])
    queue.close()


def main(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["labels", *map(str, arguments)])
    try:
        labels.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def written(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False) if path.suffix == ".csv" else pd.read_parquet(path)


@pytest.mark.parametrize("kind", [".csv", ".parquet"])
def test_labels_that_hold_come_into_the_table_and_all_else_stays(home, monkeypatch, capsys, kind):
    source, out = home / f"in{kind}", home / f"out{kind}"
    had = {"fraud": ["", "1", "0", "0", "0"], "label_time": ["", told(T + DAY), told(T + DAY), told(T + 9 * DAY), ""]}
    frame = pd.DataFrame(TABLE | had | {"note": [f"n{id}" for id in ID]})
    frame.to_csv(source, index=False) if kind == ".csv" else frame.to_parquet(source)
    before = source.read_bytes()
    # a: new; b: agrees, later; c: another, later; d: another, earlier; e: the table does not say since when; z: nobody
    say(
        ("a", 1, T + 2 * DAY), ("b", 1, T + 2 * DAY), ("c", 1, T + 2 * DAY), ("d", 1, T + DAY), ("e", 0, T), ("z", 1, T)
    )
    assert main(monkeypatch, source, out) == 0
    said = capsys.readouterr()
    assert "1 new labels, 2 changed, 2 already known, 1 of transactions that are not in the table" in said.err
    assert said.out == f"{out}\n"
    result = written(out)
    assert list(result) == list(frame)
    for name in (*TABLE, "note"):
        assert result[name].tolist() == frame[name].tolist()
    assert [int(value) for value in result["fraud"]] == [1, 1, 1, 0, 0]
    events = load(Config(dataset=str(out)))
    # The label of e was known when it was paid: not before its transaction, T + 4 s.
    assert (events.label_time - T).tolist() == [2 * DAY, DAY, 2 * DAY, 9 * DAY, 4000]
    assert source.read_bytes() == before


@pytest.mark.parametrize("times", ["milliseconds", "timestamps", "floats", "absent"])
def test_columns_of_parquet_keep_their_kind(home, monkeypatch, times):
    ms = np.array([T + DAY, -1, -1, -1, -1])
    at = {
        "milliseconds": pd.array([T + DAY, None, None, None, None], "Int64"),
        "timestamps": pd.to_datetime(pd.Series(ms).where(ms >= 0), unit="ms", utc=True).astype("datetime64[us, UTC]"),
        "floats": np.where(ms >= 0, ms, np.nan),
    }
    frame = pd.DataFrame(TABLE)
    if times != "absent":
        frame = frame.assign(fraud=[0.0, None, None, None, None], label_time=at[times])
    frame.to_parquet(home / "in.parquet")
    say(("c", 1, T + 3 * DAY))
    assert main(monkeypatch, home / "in.parquet", home / "out.parquet") == 0
    events = load(Config(dataset=str(home / "out.parquet")))
    assert events.fraud.tolist() == [-1 if times == "absent" else 0, -1, 1, -1, -1]
    assert events.label_time[2] == T + 3 * DAY
    if times == "timestamps":
        assert str(written(home / "out.parquet")["label_time"].dtype) == "datetime64[us, UTC]"
    if times in ("milliseconds", "floats"):
        assert written(home / "out.parquet")["label_time"].max() == T + 3 * DAY


def test_what_was_taken_back_is_not_in_a_table_made_anew(home, monkeypatch, capsys):
    source = home / "in.csv"
    pd.DataFrame(TABLE).to_csv(source, index=False)
    queue = open_queue(settings())
    queue.open_case(Alert.model_validate(ALERT | {"id": "a", "time": T}))
    queue.decide("a", "fraud", "ann")
    assert main(monkeypatch, source, home / "out.csv") == 0
    assert written(home / "out.csv")["fraud"].tolist() == ["1", "", "", "", ""]
    queue.decide("a", "unsure", "ann", reopen=True)
    queue.close()
    capsys.readouterr()
    assert main(monkeypatch, source, home / "out.csv") == 0
    assert written(home / "out.csv")["fraud"].tolist() == [""] * 5
    assert "the case queue has no label" in capsys.readouterr().err


def test_wrong_use_is_one_sentence_and_leaves_no_file(home, monkeypatch, capsys):
    good = home / "in.csv"
    pd.DataFrame(TABLE).to_csv(good, index=False)
    twice = home / "twice.csv"
    pd.concat([pd.DataFrame(TABLE)] * 2).to_csv(twice, index=False)
    bare = home / "bare.csv"
    pd.DataFrame({"id": ID}).to_csv(bare, index=False)
    out = home / "out.csv"
    for source, target, sentence in [
        (good, home / "out.xlsx", "out.xlsx: unknown file format: expected .csv or .parquet"),
        (home / "none.csv", out, "none.csv: no such file"),
        (twice, out, "twice.csv: id: the id of an earlier row in row 6: got 'a'"),
        (bare, out, "bare.csv: time: missing column"),
    ]:
        assert main(monkeypatch, source, target) in (1, 2)
        assert sentence in capsys.readouterr().err
    monkeypatch.setenv("DATABASE_URL", "postgresql://espalier@127.0.0.1:1/none")
    settings.cache_clear()
    assert main(monkeypatch, good, out) == 1
    assert "the database does not answer; retry later" in capsys.readouterr().err
    assert sorted(path.name for path in home.iterdir() if path.is_file()) == ["bare.csv", "in.csv", "twice.csv"]


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """A simulated town as a table of one's own, without the labels of its last 20 days."""
    events = load(Config(dataset=SIMULATED, customers=150, terminals=80, days=60))
    told_at = events.time < events.time[-1] - 20 * DAY
    frame = pd.DataFrame(
        {
            "id": events.id,
            "time": events.time,
            "amount": events.amount / 100,
            "currency": "EUR",
            **events.entities,
            "fraud": pd.Series(events.fraud).where(told_at).astype("Int8"),
            "label_time": pd.Series(events.label_time).where(told_at).astype("Int64"),
        }
    )
    path = tmp_path_factory.mktemp("town") / "payments.parquet"
    frame.to_parquet(path)
    return path, events, told_at


def test_a_verdict_is_known_to_features_from_its_moment_on(home, monkeypatch, town):
    path, events, told_at = town
    new = int(np.flatnonzero((events.fraud == 1) & ~told_at)[0])
    at = int(events.time[new]) + 9 * DAY
    say((str(events.id[new]), 1, at))
    out = home / "labelled.parquet"
    assert main(monkeypatch, path, out) == 0
    before, after = (load(Config(dataset=str(place))) for place in (path, out))
    changed = np.flatnonzero(before.fraud != after.fraud)
    assert after.id[changed].tolist() == [events.id[new]]
    assert (after.fraud[new], after.label_time[new]) == (1, at)
    definition = Definition()
    counts = [history(definition, table_of(some)) for some in (before, after)]
    seen = np.flatnonzero((counts[0] != counts[1]).any(axis=(1, 2)))
    assert len(seen) > 0
    assert (events.time[seen] >= at).all()
    same = events.entities["customer"][seen] == events.entities["customer"][new]
    assert (same | (events.entities["terminal"][seen] == events.entities["terminal"][new])).all()


def from_docs(file: str) -> str:
    """What the docs write into a file."""
    docs = Path(__file__).parents[3] / "docs" / "fraud_detection.md"
    if not docs.exists():
        pytest.skip("a clone has no docs")
    text = docs.read_text()
    return text.partition(f"cat > {file} <<'END'\n")[2].partition("END\n")[0]


def test_the_recipe_in_the_docs_retrains_when_the_hook_runs_it(home, monkeypatch, town):
    """Labels, training and the report, started by the hook of the drift alarm with its record on stdin."""
    path, events, told_at = town
    say(*((str(events.id[i]), int(events.fraud[i]), int(events.label_time[i])) for i in np.flatnonzero(~told_at)[:900]))
    script, policies = from_docs("retrain.sh"), Policies.model_validate_json(from_docs("policy.json"))
    assert "finance.fraud_detection.labels" in script
    (home / "payments.parquet").write_bytes(path.read_bytes())
    quick = "'models=[\"logistic\"]' periods.folds=1"
    day = told(int(events.time[~told_at][0]))[:10]
    script = script.replace("""'periods={"test_start": "'$start'", "folds": 2}'""", f"periods.test_start={day} {quick}")
    assert day in script
    bin = home / "bin"  # what the script calls, with curl as a witness
    bin.mkdir()
    (bin / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (bin / "espalier").write_text(f'#!/bin/sh\nexec {sys.executable} -m common "$@"\n')
    (bin / "curl").write_text('#!/bin/sh\nprintf "%s\\n" "$@" > asked\n')
    for one in bin.iterdir():
        one.chmod(0o755)
    (home / "retrain.sh").write_text(script)
    monkeypatch.chdir(home)
    monkeypatch.setenv("PATH", f"{bin}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    record = RetrainDecision(
        time=datetime(2026, 11, 28, tzinfo=UTC),
        system="finance.fraud_detection",
        version="1",
        decision="retrain recommended",
        reasons=["drift"],
        since=datetime(2026, 11, 27, tzinfo=UTC),
        policy=policies.retrain,
    )
    assert run_hook(policies.retrain, record)
    log, asked = home / "retrain.log", home / "asked"
    for _ in range(1000):
        if asked.exists() or (log.exists() and "espalier:" in log.read_text()):
            break
        time.sleep(0.2)
    assert asked.exists(), log.read_text()
    assert json.loads((home / "decision.json").read_text())["reasons"] == ["drift"]
    assert "/v1/deployments/fraud_detection/challenger" in asked.read_text()
    bundle = asked.read_text().partition('"bundle": "')[2].partition('"')[0]
    config = json.loads((home / "home" / "bundles" / "finance.fraud_detection" / bundle / "manifest.json").read_text())[
        "config"
    ]
    assert config["dataset"].endswith("labelled.parquet")
    assert load(Config(dataset=str(home / "labelled.parquet"))).fraud[np.flatnonzero(~told_at)[899]] >= 0
