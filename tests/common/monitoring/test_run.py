"""`espalier monitor` from a table to exit code, files and page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from pydantic import BaseModel
from typer.testing import CliRunner

from common.bundle import Bundle, load_bundle, save_bundle
from common.errors import DataError, UsageError
from common.monitoring.cli import monitor as command
from common.monitoring.online import Monitor
from common.monitoring.page import render
from common.monitoring.retrain import RetrainPolicy, RetrainRule
from common.monitoring.rows import read_rows, rows_frame, windows
from common.monitoring.run import MonitorRun, Policies, monitor
from common.system import System

Records = Callable[..., list[dict[str, Any]]]
START = datetime(2026, 1, 5, tzinfo=UTC)
EVIL = "<script>alert(1)</script>"


class Ask(BaseModel):
    amount: float
    kind: str
    flag: float | None


class Answer(BaseModel):
    score: float
    probability: float


class Model:
    request, response = Ask, Answer

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Model:
        return cls()

    def predict(self, batch: list[Ask]) -> list[Answer]:
        return [Answer(score=1.0, probability=0.5) for _ in batch]


SYSTEM = System("branch.monitored", "Is watched.", "classification", "minimal", (), (), predictor=f"{__name__}:Model")


class NoConfig(BaseModel):
    seed: int = 0


@pytest.fixture
def bundle(reference: dict[str, Any], tmp_path: Path) -> Bundle:
    path = save_bundle(
        SYSTEM,
        NoConfig(),
        arrays={},
        preprocess={},
        metrics={"valid_auc": 0.85},
        data={"simulated": True},
        reference=reference,
        examples=[{"amount": 1000.0, "kind": "a", "flag": None}],
        folder=tmp_path / "bundle",
    ).path
    return load_bundle(path)


def decisions(bundle: Bundle, records: Records, days: int = 6, rows: int = 250, moved_from: int = 3) -> list[Any]:
    """As an audit store gives them: the amount doubles and the labels leave the model from `moved_from` on."""
    found = []
    generator = np.random.default_rng(0)
    for day in range(days):
        for i, row in enumerate(records(rows, seed=day)):
            moved = day >= moved_from
            p = generator.random()
            event = generator.random() < (0.5 if moved else p)
            output = {"score": row.pop("score"), "probability": p, "reasons": ["x"]}
            row["amount"] *= 2 if moved else 1
            time = START + timedelta(days=day, minutes=5 * i)
            found.append(
                {
                    "time": time.isoformat(),
                    "system": SYSTEM.name,
                    "version": bundle.manifest.version,
                    "inputs": row,
                    "output": output,
                    "label": int(event) if i % 2 else None,
                }
            )
    return found


def write(rows: list[Any], path: Path) -> Path:
    flat = rows_frame(rows)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".csv":
        flat.drop(columns="reasons").to_csv(path, index=False)
    else:
        flat.to_parquet(path)
    return path


def run_command(*arguments: str | Path) -> Any:
    app = typer.Typer()
    app.command("monitor")(command)
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_an_audit_store_gives_windows_alarms_and_a_recommendation(bundle: Bundle, records: Records) -> None:
    rule = RetrainRule(kinds=("performance", "input_drift"), for_s=2 * 86_400)
    found = monitor(
        bundle, iter(decisions(bundle, records)), Policies(retrain=RetrainPolicy(rules=(rule,))), every="1D"
    )
    drifted = [{a.field for a in window.alarms if a.kind == "input_drift"} for window in found.windows]
    assert drifted == [set(), set(), set(), {"amount"}, {"amount"}, {"amount"}]
    assert [any(a.kind == "performance" for a in w.alarms) for w in found.windows] == [False] * 3 + [True] * 3
    assert {field.name for field in found.windows[0].fields if field.role == "prediction"} == {"score"}
    assert [(d.decision, d.time) for d in found.decisions] == [("retrain recommended", START + timedelta(days=5))]
    assert found.alarmed


def test_labels_that_come_late_still_alarm(bundle: Bundle, records: Records) -> None:
    rows = decisions(bundle, records, days=3, moved_from=1)
    for row in rows[500:]:
        row["label"] = None
    for row in rows[250:]:
        row["inputs"]["amount"] /= 2
    found = monitor(bundle, rows, every="1D")
    assert found.latest is found.windows[-1]
    assert found.latest.alarms == []
    assert [alarm.kind for alarm in found.alarms] == ["performance"]


def test_two_runs_with_state_are_one(bundle: Bundle, records: Records) -> None:
    rows = decisions(bundle, records)
    policies = Policies(retrain=RetrainPolicy(rules=(RetrainRule(kinds=("input_drift",), for_s=3 * 86_400),)))
    whole = monitor(bundle, rows, policies, every="1D")
    first = monitor(bundle, rows[:1000], policies, every="1D")
    second = monitor(bundle, rows[1000:], policies, every="1D", state=first.state)
    assert first.decisions == []
    assert second.decisions == whole.decisions != []


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_the_command_exits_by_alarm(bundle: Bundle, records: Records, tmp_path: Path, suffix: str) -> None:
    rows = decisions(bundle, records)
    source = write(rows, tmp_path / f"rows{suffix}")
    out, state = tmp_path / "out", tmp_path / "state.json"
    result = run_command(bundle.path, source, "--every", "1D", "--out", out, "--state", state, "monitor.alpha=0.02")
    assert result.exit_code == 1, result.output
    assert "ALARM amount moved" in result.output
    assert result.stdout.splitlines()[-1] == str(out / "monitor.html")
    written = MonitorRun.model_validate_json((out / "monitor.json").read_bytes())
    assert (len(written.windows), written.policy.alpha) == (6, 0.02)
    assert state.exists()
    calm = write(rows[:750], tmp_path / f"calm{suffix}")
    result = run_command(bundle.path, calm, "--out", tmp_path / "calm")
    assert result.exit_code == 0, result.output
    assert "ALARM" not in result.output


def test_the_declared_policy_is_a_file_and_its_hook_is_run(bundle: Bundle, records: Records, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    code = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"
    hook = [sys.executable, "-c", code, str(record)]
    policy = tmp_path / "policy.json"
    rules = [{"kinds": ["input_drift"], "for_s": 86_400}]
    policy.write_text(json.dumps({"monitor": {"skip": ["kind"]}, "retrain": {"rules": rules, "hook": hook}}))
    source = write(decisions(bundle, records), tmp_path / "rows.jsonl")
    result = run_command(bundle.path, source, "--every", "1D", "--policy", policy, "--out", tmp_path)
    assert result.exit_code == 1, result.output
    assert json.loads(record.read_bytes())["system"] == SYSTEM.name
    assert "kind" not in [
        field["name"] for field in json.loads((tmp_path / "monitor.json").read_text())["windows"][0]["fields"]
    ]


def test_bad_input_is_one_sentence(bundle: Bundle, records: Records, tmp_path: Path) -> None:
    rows = decisions(bundle, records, days=1)
    with pytest.raises(DataError, match="no such file"):
        read_rows(tmp_path / "none.csv")
    for name, content in (("a.csv", ""), ("a.parquet", "no"), ("a.jsonl", "{"), ("b.jsonl", ""), ("c.jsonl", "7\n")):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError):
            read_rows(tmp_path / name)
    (tmp_path / "a.xls").write_text("")
    with pytest.raises(UsageError, match="unknown format"):
        read_rows(tmp_path / "a.xls")
    with pytest.raises(DataError, match="no decisions of this version"):
        monitor(bundle, [{**row, "version": "other"} for row in rows])
    with pytest.raises(UsageError, match="no column is a field"):
        monitor(bundle, pd.DataFrame({"other": [1]}))
    with pytest.raises(UsageError, match="compared with"):
        monitor(bundle, rows, predicted="nothing")
    with pytest.raises(DataError, match="time cannot be read"):
        monitor(bundle, [{**row, "time": "yesterday"} for row in rows], every="1D")
    with pytest.raises(DataError, match="time cannot be read"):
        monitor(bundle, rows, every="often")
    with pytest.raises(UsageError, match="no length"):
        monitor(bundle, rows, every="0h")


def test_windows_of_time() -> None:
    frame = pd.DataFrame({"time": [0, 3599, 7200, None], "x": [1, 2, 3, 4]})
    parts = [(since, until, list(part["x"])) for since, until, part in windows(frame, "1h")]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert parts == [
        (epoch, epoch + timedelta(hours=1), [1, 2]),
        (epoch + timedelta(hours=2), epoch + timedelta(hours=3), [3]),
    ]
    assert [part[:2] for part in windows(frame, "")] == [(epoch, epoch + timedelta(hours=2))]
    assert [part[:2] for part in windows(frame[["x"]], "1h")] == [(None, None)]


def test_the_page_loads_nothing_and_escapes(bundle: Bundle, records: Records) -> None:
    found = monitor(bundle, decisions(bundle, records), every="1D")
    html = render(found)
    assert "<script" not in html
    assert not re.search(r"@import|url\(|<link", html)
    images = re.findall(r'<img src="([^"]*)" alt="([^"]*)"', html)
    assert len(images) >= 8
    assert all(source.startswith("data:image/svg+xml;base64,") and alt for source, alt in images)
    for part in ("Alarms", "Drift", "Then and now", "Performance", "Fields", "Windows", "amount moved"):
        assert part in html
    hostile = found.model_copy(update={"system": EVIL})
    assert EVIL not in render(hostile)
    assert "&lt;script&gt;" in render(hostile)


def test_the_page_of_one_window_of_few_rows_and_of_none(bundle: Bundle, records: Records) -> None:
    one = monitor(bundle, decisions(bundle, records, days=1, rows=20))
    assert "Not judged: 20 rows" in render(one)
    assert "No rows yet" in render(one.model_copy(update={"windows": []}))


def test_the_page_in_a_process_of_its_own(bundle: Bundle, records: Records) -> None:
    found = monitor(bundle, decisions(bundle, records, days=1), every="1D")
    done = subprocess.run(
        [sys.executable, "-m", "common.monitoring.page"],
        input=found.model_dump_json().encode(),
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == render(found)


def test_a_live_monitor_of_a_bundle_knows_its_answers_and_bounds(bundle: Bundle, records: Records) -> None:
    live = Monitor.of_bundle(bundle)
    assert live is not None
    assert (live.system, live.version) == (SYSTEM.name, bundle.manifest.version)
    for row in decisions(bundle, records, days=1):
        live.observe(row["inputs"], row["output"])
    live.fold()
    report = live.judge()
    assert report is not None
    assert [field.name for field in report.fields if field.role == "prediction"] == ["score"]
    assert report.alarms == []
