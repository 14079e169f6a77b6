"""The monitor's page: one HTML file that loads nothing, in the style of the evaluation's report.

`python -m common.monitoring.page < monitor.json > monitor.html` renders in a process of its own: a service does
that, since Matplotlib would cost it 60 MB and hold up its requests.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from common.evaluation.page import Section, image, number, numeric, paragraphs
from common.files import write_whole
from common.monitoring import figures
from common.monitoring.report import MonitorReport
from common.monitoring.run import MonitorRun

MOST_SHOWN = 4  # distributions besides the answers'
MAP = "In the map blue is stable, amber moving, red shifted, grey too few rows; a dot is an alarm of any kind."
FIGURE = re.compile(r"[-+.,\d]+(e-\d+)?%?|–")  # a number already in words is set flush right too
MOST_WINDOWS = 60  # rows of the table of windows


def write_monitor_page(path: Path, found: MonitorRun) -> Path:
    """Write the page of a run to `path`, whole or not at all, and return the path."""
    write_whole(path, render(found))
    return path


def render(found: MonitorRun) -> str:
    """The page as HTML; every name is escaped."""
    environment = Environment(
        loader=PackageLoader("common.monitoring", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, image=image, paragraphs=paragraphs)
    environment.tests["numeric"] = lambda cell: numeric(cell) or (isinstance(cell, str) and FIGURE.fullmatch(cell))
    template = environment.get_template("monitor.html.j2")
    return template.render(run=found, latest=found.latest, style=_style(), sections=_sections(found), time=_time)


def _style() -> str:
    """The style of the evaluation's report, from its template, so that there is one."""
    loader = PackageLoader("common.evaluation", ".")
    source, _, _ = loader.get_source(Environment(autoescape=True, loader=loader), "report.html.j2")
    found = re.search(r"<style>(.*?)</style>", source, re.DOTALL)
    return found.group(1) if found else ""


def _sections(found: MonitorRun) -> list[Section]:
    latest = found.latest
    if latest is None or not latest.fields:
        return []
    return [
        Section("Alarms", *_alarms(found)),
        Section("Drift", MAP if len(found.windows) > 1 else "", _drift(found, latest)),
        Section("Then and now", "The answers, and the fields that moved furthest.", _distributions(found, latest)),
        *_performance(found, latest),
        Section("Fields", _about(found), table=_fields(latest, found)),
        *([Section("Windows", "", table=_windows(found))] if len(found.windows) > 1 else []),
        *_decisions(found),
    ]


def _alarms(found: MonitorRun) -> tuple[str, list[Any], list[dict[str, Any]]]:
    rows = [
        {"kind": alarm.kind.replace("_", " "), "field": alarm.field, "what": alarm.sentence} for alarm in found.alarms
    ]
    return ("" if rows else "None now."), [], rows


def _drift(found: MonitorRun, latest: MonitorReport) -> list[Any]:
    if len(found.windows) == 1:
        return [figures.field_bars(latest)]
    return [figures.drift_lines(found.windows), figures.drift_map(found.windows)]


def _distributions(found: MonitorRun, latest: MonitorReport) -> list[Any]:
    """Answers first, then alarmed fields, then what moved most."""
    alarmed = {alarm.field for alarm in latest.alarms}
    known = [field for field in latest.fields if field.shares]
    answers = [field for field in known if field.role == "prediction"]
    inputs = [field for field in known if field.role == "input"]
    inputs.sort(key=lambda field: (field.name not in alarmed, -field.psi))
    return [
        figures.distribution(field.name, found.reference[field.name], field.shares, field.psi)
        for field in [*answers, *inputs[:MOST_SHOWN]]
    ]


def _performance(found: MonitorRun, latest: MonitorReport) -> list[Section]:
    labelled = [window for window in found.windows if window.performance]
    if not labelled:
        return []
    newest = labelled[-1].performance
    assert newest is not None
    text = f"In the latest window with labels, {newest.n:,} rows have one."
    if newest.observed is not None and newest.predicted is not None:
        text += f" {newest.observed:.1%} had the event; {newest.predicted:.1%} were predicted."
    rows = [
        {"metric": one.name, "live": one.value, "95 % from": one.low, "to": one.high, "at training": one.baseline}
        for one in newest.metrics
    ]
    drawn = [figures.performance_lines(labelled, one.name) for one in newest.metrics] if len(labelled) > 1 else []
    return [Section("Performance", text, drawn, rows)]


def _about(found: MonitorRun) -> str:
    policy = found.policy
    return (
        f"Drift is an alarm from PSI {policy.psi:g} up, if a test (KS for numbers, chi-square for levels) also says so "
        f"at {policy.alpha:g} after Benjamini and Hochberg's correction for all fields: with nothing changed, at most "
        f"{policy.alpha:.0%} of windows have a drift alarm. Windows under {policy.min_rows:,} rows are not judged."
    )


def _fields(latest: MonitorReport, found: MonitorRun) -> list[dict[str, Any]]:
    return [
        {
            "field": field.name if field.role == "input" else f"{field.name} (answer)",
            "PSI": field.psi,
            "verdict": field.verdict,
            "test": {"ks": "KS", "chi2": "χ²"}[field.test],
            "p, corrected": f"{field.adjusted_p:.1e}" if field.adjusted_p < 0.001 else f"{field.adjusted_p:.3f}",
            "missing": _share(field.missing),
            "at training": _share(float(found.reference[field.name]["missing"])),
            "out of range": _share(field.out_of_range),
            "unseen": _share(field.unseen),
        }
        for field in sorted(latest.fields, key=lambda field: -field.psi)
    ]


def _windows(found: MonitorRun) -> list[dict[str, Any]]:
    rows = []
    for window in reversed(found.windows[-MOST_WINDOWS:]):
        kinds = Counter(alarm.kind.replace("_", " ") for alarm in window.alarms)
        rows.append(
            {
                "from": _time(window.since),
                "to": _time(window.until),
                "rows": window.n,
                "highest PSI": max((field.psi for field in window.fields), default=None),
                "alarms": ", ".join(f"{times} {kind}" for kind, times in kinds.items())
                or ("none" if window.judged else "too few rows"),
            }
        )
    return rows


def _decisions(found: MonitorRun) -> list[Section]:
    rows = [
        {
            "time": _time(one.time),
            "decision": one.decision,
            "since": _time(one.since),
            "reasons": "; ".join(one.reasons),
        }
        for one in found.decisions
    ]
    return [Section("Retraining", table=rows)] if rows else []


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _time(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M}" if time else "–"


if __name__ == "__main__":
    sys.stdout.write(render(MonitorRun.model_validate_json(sys.stdin.buffer.read())))
