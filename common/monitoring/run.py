"""Monitoring of a whole table of decisions: window by window, with what it means for retraining."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from common.config import Strict
from common.errors import UsageError
from common.monitoring.report import Alarm, MonitorPolicy, MonitorReport
from common.monitoring.retrain import RetrainDecision, RetrainPolicy, RetrainState, consider

if TYPE_CHECKING:
    from common.bundle import Bundle


class Policies(Strict):
    """The declared policy of a model: what is an alarm, and when to retrain."""

    monitor: MonitorPolicy = MonitorPolicy()
    retrain: RetrainPolicy = RetrainPolicy()


class MonitorRun(Strict):
    """What `espalier monitor` writes, and what a service shows: windows in order of time, decisions, the reference."""

    system: str
    version: str
    policy: MonitorPolicy
    windows: list[MonitorReport]
    decisions: list[RetrainDecision]
    state: RetrainState
    reference: dict[str, dict[str, Any]] = Field(description="the histograms of the bundle's reference.json")

    @property
    def latest(self) -> MonitorReport | None:
        """The last window with rows enough, or the last one."""
        judged = [window for window in self.windows if window.judged or window.alarms]
        return judged[-1] if judged else self.windows[-1] if self.windows else None

    @property
    def alarms(self) -> list[Alarm]:
        """Those of the latest window and, as labels come late, of the latest one with labels."""
        found = list(self.latest.alarms) if self.latest else []
        labelled = [window for window in self.windows if window.performance]
        if labelled and labelled[-1] is not self.latest:
            found += [alarm for alarm in labelled[-1].alarms if alarm.kind in ("performance", "calibration")]
        return found

    @property
    def alarmed(self) -> bool:
        """Whether there is an alarm now, or retraining is recommended."""
        return bool(self.alarms or self.state.recommended)


def monitor(
    bundle: Bundle,
    decisions: Any,
    policies: Policies | None = None,
    *,
    every: str = "",
    label: str = "label",
    predicted: str = "",
    state: RetrainState | None = None,
) -> MonitorRun:
    """Judge decisions (a DataFrame, or an iterable of `{time, system, version, inputs, output}`) against a bundle.

    `every` cuts windows by time, such as "1D"; `label` names the column of labels, `predicted` that of what they
    are compared with (default: the only column that begins with `probability`). `state` is that of an earlier run,
    whose windows must lie before these. Raises `DataError` and `UsageError`.
    """
    from common.monitoring.check import check_window
    from common.monitoring.rows import of_model, rows_frame, windows

    policies = policies or Policies()
    schema = bundle.json("signature.json")["schema"]
    reference = with_ranges(bundle.json("reference.json"), schema["input"])
    answers = answer_fields(reference, schema)
    name, version = bundle.manifest.system, bundle.manifest.version
    frame = decisions if hasattr(decisions, "columns") else rows_frame(_mappings(decisions))
    frame = of_model(frame, name, version)
    _check_some_field(frame, reference)
    compared = _predicted(list(frame.columns), predicted) if label in frame else ""
    baseline = bundle.json("metrics.json")
    found, records, state = [], [], state or RetrainState()
    for since, until, part in windows(frame, every):
        report = check_window(
            reference,
            part,
            policies.monitor,
            predictions=answers,
            labels=part[label] if compared else None,
            predicted=part[compared] if compared else None,
            baseline=baseline,
            system=name,
            version=version,
            since=since,
            until=until,
        )
        found.append(report)
        state, decision = consider(policies.retrain, state, report)
        records += [decision] if decision else []
    return MonitorRun(
        system=name,
        version=version,
        policy=policies.monitor,
        windows=found,
        decisions=records,
        state=state,
        reference=reference,
    )


def answer_fields(reference: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Fields of the reference that are answers by the bundle's signature, not inputs."""
    inputs, outputs = (schema[side].get("properties", {}) for side in ("input", "output"))
    return tuple(field for field in reference if field in outputs and field not in inputs)


def with_ranges(reference: Mapping[str, Mapping[str, Any]], schema: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The reference with the bounds of a JSON Schema (`signature.json`) where it has no `range` of its own."""
    fields: dict[str, dict[str, Any]] = {}
    for name, histogram in reference.items():
        fields[name] = dict(histogram)
        declared = schema.get("properties", {}).get(name, {})
        for option in (declared, *declared.get("anyOf", ())):
            low, high = option.get("minimum"), option.get("maximum")
            if "edges" in histogram and "range" not in histogram and (low is not None or high is not None):
                fields[name]["range"] = [low, high]
    return fields


def _predicted(columns: list[str], given: str) -> str:
    candidates = [given] if given else [name for name in columns if str(name).startswith("probability")]
    if len(candidates) == 1 and candidates[0] in columns:
        return candidates[0]
    raise UsageError(
        "what are the labels compared with?",
        got=", ".join(candidates) or "no such column",
        fix="give --predicted COLUMN",
    )


def _check_some_field(frame: Any, reference: Mapping[str, Any]) -> None:
    if not any(field in frame for field in reference):
        got = ", ".join(map(str, list(frame.columns)[:5]))
        raise UsageError("no column is a field of this bundle", got=got, expected=", ".join(list(reference)[:5]))


def _mappings(rows: Iterable[Any]) -> Iterable[Mapping[str, Any]]:
    """Rows of a store may be records of its own with these attributes."""
    return (row if isinstance(row, Mapping) else vars(row) for row in rows)
