from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from common.monitoring.report import Alarm, MonitorReport
from common.monitoring.retrain import RetrainDecision, RetrainPolicy, RetrainRule, RetrainState, consider, run_hook

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY_S = 86_400
POLICY = RetrainPolicy(
    rules=(RetrainRule(kinds=("input_drift",), fields=2, for_s=3 * DAY_S),), gap_s=DAY_S, clear_s=2 * DAY_S
)


def window(day: int, *fields: str, judged: bool = True, version: str = "1", kind: Any = "input_drift") -> MonitorReport:
    alarms = [Alarm(kind=kind, field=field, value=1, limit=0.25, sentence=f"{field} moved.") for field in fields]
    since = START + timedelta(days=day)
    return MonitorReport(
        version=version,
        since=since,
        until=since + timedelta(days=1),
        n=500,
        seen=500,
        judged=judged,
        fields=[],
        alarms=alarms,
    )


def play(*days: MonitorReport, policy: RetrainPolicy = POLICY) -> list[tuple[int, RetrainDecision]]:
    state, found = RetrainState(), []
    for report in days:
        state, decision = consider(policy, RetrainState.model_validate_json(state.model_dump_json()), report)
        if decision:
            assert report.since
            found.append(((report.since - START).days, decision))
    return found


def words(found: list[tuple[int, RetrainDecision]]) -> list[tuple[int, str]]:
    return [(day, decision.decision) for day, decision in found]


def test_only_what_lasts_recommends() -> None:
    found = play(window(0), *(window(day, "a", "b") for day in range(1, 9)))
    assert words(found) == [(3, "retrain recommended")]  # on the third alarmed day, and once
    decision = found[0][1]
    assert decision.since == START + timedelta(days=1)
    assert "input drift for 3.0 days, in 3 windows" in decision.reasons[0]
    assert "a moved. b moved." in decision.reasons[0]
    assert decision.policy == POLICY


def test_too_few_fields_or_another_kind_do_not() -> None:
    assert play(*(window(day, "a") for day in range(9))) == []
    assert play(*(window(day, "a", "b", kind="missing") for day in range(9)), policy=RetrainPolicy()) == []


def test_flapping_does_not_flap() -> None:
    # alarms every second day: one recommendation, no withdrawal
    days = [window(day, *(("a", "b") if day % 2 == 0 else ())) for day in range(20)]
    assert words(play(*days)) == [(2, "retrain recommended")]


def test_a_longer_pause_starts_afresh() -> None:
    alarmed = {0, 1, 5, 6}
    assert play(*(window(day, *(("a", "b") if day in alarmed else ())) for day in range(9))) == []


def test_withdrawn_after_quiet_and_recommended_again() -> None:
    alarmed = {0, 1, 2, 3, 9, 10, 11, 12}
    days = [window(day, *(("a", "b") if day in alarmed else ())) for day in range(14)]
    assert words(play(*days)) == [
        (2, "retrain recommended"),
        (5, "recommendation withdrawn"),
        (11, "retrain recommended"),
    ]


def test_windows_without_rows_count_neither_way() -> None:
    days = [window(0, "a", "b"), window(1, judged=False), window(2, "a", "b"), window(3, judged=False)]
    assert words(play(*days, *(window(day, judged=False) for day in range(4, 30)))) == [(2, "retrain recommended")]


def test_a_new_version_starts_afresh() -> None:
    days = [window(0, "a", "b"), window(1, "a", "b"), window(2, "a", "b", version="2"), window(3, version="2")]
    assert play(*days) == []


def test_the_hook_gets_the_record(tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    code = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"
    policy = POLICY.model_copy(update={"hook": (sys.executable, "-c", code, str(out))})
    decision = play(*(window(day, "a", "b") for day in range(3)))[0][1]
    assert run_hook(policy, decision)
    assert json.loads(out.read_bytes())["decision"] == "retrain recommended"
    assert not run_hook(POLICY.model_copy(update={"hook": ("/no/such/program",)}), decision)
    assert not run_hook(POLICY.model_copy(update={"hook": (sys.executable, "-c", "raise SystemExit(3)")}), decision)
    assert not run_hook(POLICY, decision)
