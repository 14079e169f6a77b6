"""When to retrain: a declared policy over the alarms of many windows, with hysteresis so that it does not flap.

It recommends, in a record with reasons; it never retrains. A hook command may.
"""

from __future__ import annotations

import logging
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import Field

from common.config import Strict
from common.monitoring.report import AlarmKind, MonitorReport

logger = logging.getLogger("espalier.monitoring")
HOOK_S = 60  # a hook that takes longer should start a job instead
DAY_S = 86_400.0


class RetrainRule(Strict):
    """Alarms of these kinds, on at least `fields` fields at once, lasting `for_s` seconds over `windows` windows."""

    kinds: tuple[AlarmKind, ...]
    fields: int = Field(1, ge=1)
    for_s: float = Field(DAY_S, ge=0)
    windows: int = Field(2, ge=1)


class RetrainPolicy(Strict):
    """Any rule that holds recommends; the recommendation stands until all was quiet for `clear_s`.

    Quiet for less than `gap_s` does not end what lasts. Windows with too few rows count neither way.
    Data-quality alarms are no reason by default: a broken feed is mended, not learnt.
    """

    rules: tuple[RetrainRule, ...] = (
        RetrainRule(kinds=("performance", "calibration"), for_s=0),
        RetrainRule(kinds=("prediction_drift",)),
        RetrainRule(kinds=("input_drift",), fields=2, for_s=3 * DAY_S),
    )
    gap_s: float = Field(DAY_S / 4, ge=0)
    clear_s: float = Field(2 * DAY_S, ge=0)
    hook: tuple[str, ...] = Field((), description="command and arguments, run without a shell; the record on stdin")


class Episode(Strict):
    """Since when a rule's alarms last, when they were last seen, and in how many windows."""

    since: datetime
    last: datetime
    windows: int


class RetrainState(Strict):
    """All that the trigger remembers; keep it as JSON between runs."""

    version: str = ""
    episodes: dict[int, Episode] = Field({}, description="by the rule's place in the policy")
    recommended: datetime | None = None
    quiet: datetime | None = Field(None, description="since when a standing recommendation has no alarm")


class RetrainDecision(Strict):
    """The decision record."""

    time: datetime
    system: str
    version: str
    decision: Literal["retrain recommended", "recommendation withdrawn"]
    reasons: list[str]
    since: datetime
    policy: RetrainPolicy


def consider(
    policy: RetrainPolicy, state: RetrainState, report: MonitorReport, now: datetime | None = None
) -> tuple[RetrainState, RetrainDecision | None]:
    """The state after one more window and, when it changes the recommendation, the decision record.

    Windows come in order of time. Another version of the model starts afresh.
    """
    now = now or report.until or datetime.now(UTC)
    if report.version != state.version:
        state = RetrainState(version=report.version)
    if not report.judged and not report.alarms:
        return state, None
    episodes = {
        i: found for i, rule in enumerate(policy.rules) if (found := _episode(policy, rule, i, state, report, now))
    }
    state = state.model_copy(update={"episodes": episodes})
    if state.recommended is None:
        ripe = [i for i, episode in episodes.items() if _ripe(policy.rules[i], episode)]
        if not ripe:
            return state, None
        reasons = [_reason(policy.rules[i], episodes[i], report) for i in ripe]
        since = min(episodes[i].since for i in ripe)
        state = state.model_copy(update={"recommended": now, "quiet": None})
        return state, _decision(policy, report, now, "retrain recommended", reasons, since)
    if any(_alarmed(rule, report) for rule in policy.rules):
        return state.model_copy(update={"quiet": None}), None
    quiet = state.quiet or report.since or now
    if now - quiet < timedelta(seconds=policy.clear_s):
        return state.model_copy(update={"quiet": quiet}), None
    reasons = [f"no alarm of any rule since {quiet:%Y-%m-%d %H:%M}"]
    decision = _decision(policy, report, now, "recommendation withdrawn", reasons, quiet)
    return RetrainState(version=state.version), decision


def run_hook(policy: RetrainPolicy, decision: RetrainDecision) -> bool:
    """Run the policy's command, if any, with the record as JSON on stdin; failures are logged, never raised."""
    if not policy.hook:
        return False
    try:
        subprocess.run(policy.hook, input=decision.model_dump_json().encode(), timeout=HOOK_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        logger.error("retrain hook %s failed: %s", policy.hook[0], error)
        return False
    return True


def _episode(
    policy: RetrainPolicy, rule: RetrainRule, i: int, state: RetrainState, report: MonitorReport, now: datetime
) -> Episode | None:
    alarmed = _alarmed(rule, report)
    began = (report.since or now) if alarmed else now  # a long window is no gap when it is alarmed itself
    before = state.episodes.get(i)
    if before and began - before.last > timedelta(seconds=policy.gap_s):
        before = None
    if not alarmed:
        return before
    if before is None:
        return Episode(since=began, last=now, windows=1)
    return Episode(since=before.since, last=now, windows=before.windows + 1)


def _alarmed(rule: RetrainRule, report: MonitorReport) -> bool:
    return len({alarm.field for alarm in report.alarms if alarm.kind in rule.kinds}) >= rule.fields


def _ripe(rule: RetrainRule, episode: Episode) -> bool:
    return episode.windows >= rule.windows and episode.last - episode.since >= timedelta(seconds=rule.for_s)


def _reason(rule: RetrainRule, episode: Episode, report: MonitorReport) -> str:
    lasted = (episode.last - episode.since).total_seconds()
    text = f"{' or '.join(kind.replace('_', ' ') for kind in rule.kinds)} for {_duration(lasted)}"
    worst = " ".join(alarm.sentence for alarm in report.alarms if alarm.kind in rule.kinds)
    return f"{text}, in {episode.windows} windows, at least {_duration(rule.for_s)} declared: {worst}"


def _decision(
    policy: RetrainPolicy,
    report: MonitorReport,
    now: datetime,
    decision: Literal["retrain recommended", "recommendation withdrawn"],
    reasons: list[str],
    since: datetime,
) -> RetrainDecision:
    return RetrainDecision(
        time=now,
        system=report.system,
        version=report.version,
        decision=decision,
        reasons=reasons,
        since=since,
        policy=policy,
    )


def _duration(seconds: float) -> str:
    if seconds >= DAY_S:
        return f"{seconds / DAY_S:.1f} days"
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.0f} minutes"
