"""What `/v1/monitor` tells, as charts: alarms, drift per field, the answers' distribution, live performance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from common.console.answer import named, note_html
from common.console.views import bars
from common.console.words import Say

Json = Mapping[str, Any]
MOST_FIELDS = 24
MOST_ALARMS = 6
FULL_PSI = 0.5
"""A PSI from here up fills its bar; .25 is called shifted."""
KINDS = {"stable": "esp-calm", "moving": "esp-moving", "shifted": "esp-shifted"}
WIDTH, HEIGHT = 560, 90


def monitor_html(runs: Sequence[Json], say: Say, sayers: Mapping[str, Say]) -> str:
    """All models, each in the words of its system, or the sentence that there is nothing to see yet."""
    shown = (_run(run, sayers.get(run["system"], say)) for run in runs)
    return "".join(shown) or note_html(say("No model is watched."))


def _run(run: Json, say: Say) -> str:
    title = f'<h3>{escape(run["system"])}</h3><p class="esp-small">{escape(run["version"])}</p>'
    windows = run["windows"]
    if not windows:
        text = "Nothing to judge yet: ask the model, wait ten seconds and refresh."
        return f"<section>{title}{note_html(say(text))}</section>"
    latest = next((window for window in reversed(windows) if window["judged"] or window["alarms"]), windows[-1])
    parts = [title, _state(latest, run, say)]
    if latest["judged"]:  # of one row every PSI is enormous
        parts.append(_drift(latest, say))
    for field in latest["fields"]:
        if field["role"] == "prediction" and field["shares"]:
            parts.append(_distribution(field, run["reference"].get(field["name"], {}), say))
    parts += [_history(windows, say), _performance(windows, say)]
    return f"<section>{''.join(parts)}</section>"


def _drift(latest: Json, say: Say) -> str:
    fields = sorted(latest["fields"], key=lambda field: -field["psi"])[:MOST_FIELDS]
    rows = {
        named(field["name"], say): (field["psi"] / FULL_PSI, f"{field['psi']:.3f}", KINDS[field["verdict"]])
        for field in fields
    }
    return f"<h4>{escape(say('Drift since training (PSI; from 0.25: shifted)'))}</h4>{bars(rows)}"


def _state(latest: Json, run: Json, say: Say) -> str:
    rows = escape(f"{say('rows')}: {latest['seen']:,}")
    few = (
        ""
        if latest["judged"]
        else note_html(say("Too few rows to judge: {} are needed.").format(run["policy"]["min_rows"]))
    )
    alarms = [_alarm(alarm, say) for alarm in latest["alarms"]]
    more = f"<details><summary>+ {len(alarms) - MOST_ALARMS}</summary>{''.join(alarms[MOST_ALARMS:])}</details>"
    shown = "".join(alarms[:MOST_ALARMS]) + (more if len(alarms) > MOST_ALARMS else "")
    listed = f'<ul class="esp-warning">{shown}</ul>' if alarms else f"<p>{escape(say('No alarm.'))}</p>"
    retrain = note_html(say("Retraining is recommended."), "warning") if run["state"].get("recommended") else ""
    return f'<p class="esp-small">{rows}</p>{few}{listed if latest["judged"] or alarms else ""}{retrain}'


def _alarm(alarm: Json, say: Say) -> str:
    """An alarm in few words; its whole sentence, which is English, in the tooltip."""
    what = f"{say(alarm['kind'].replace('_', ' '))} {alarm['value']:.3g} ({say('limit')} {alarm['limit']:.3g})"
    return f'<li title="{escape(alarm["sentence"])}">{named(alarm["field"], say)}: {escape(what)}</li>'


def _distribution(field: Json, histogram: Json, say: Say) -> str:
    before, now = histogram.get("shares", []), field["shares"]
    if len(before) != len(now):
        return ""
    most = max(*before, *now) or 1
    rows = {}
    for name, old, new in zip(_bins(histogram), before, now, strict=True):
        rows[escape(name)] = (old / most, f"{old:.0%}", "esp-old")
        rows[f'<span class="esp-unseen">{escape(name)}</span>'] = (new / most, f"{new:.0%}", "esp-new")
    training, present = escape(say("training")), escape(say("now"))
    legend = f'<p class="esp-small"><i class="esp-old"></i> {training} <i class="esp-new"></i> {present}</p>'
    return f"<h4>{escape(say('Distribution'))}: {named(field['name'], say)}</h4>{legend}{bars(rows)}"


def _bins(histogram: Json) -> list[str]:
    if "levels" in histogram:
        return [*map(str, histogram["levels"]), "…"]
    edges = [f"{edge:.4g}" for edge in histogram["edges"]]
    return (
        [f"≤ {edges[0]}", *(f"{low} – {high}" for low, high in pairwise(edges)), f"> {edges[-1]}"] if edges else ["–"]
    )


def _history(windows: Sequence[Json], say: Say) -> str:
    """The largest PSI of each judged window as a line."""
    values = [max((field["psi"] for field in window["fields"]), default=0) for window in windows if window["judged"]]
    if len(values) < 2:
        return ""
    top = max(*values, FULL_PSI)
    step = (WIDTH - 60) / (len(values) - 1)
    points = " ".join(
        f"{50 + step * i:.1f},{HEIGHT - 10 - value / top * (HEIGHT - 20):.1f}" for i, value in enumerate(values)
    )
    limit, end = f"{HEIGHT - 10 - 0.25 / top * (HEIGHT - 20):.1f}", WIDTH - 10
    return (
        f"<h4>{escape(say('Largest drift, window by window'))}</h4>"
        f'<svg class="esp-line" role="img" width="{WIDTH}" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f'<line x1="50" x2="{end}" y1="{limit}" y2="{limit}" class="esp-limit"/>'
        f'<text x="0" y="{limit}">0.25</text><polyline points="{points}"/></svg>'
    )


def _performance(windows: Sequence[Json], say: Say) -> str:
    found = next((window["performance"] for window in reversed(windows) if window["performance"]), None)
    title = f"<h4>{escape(say('Live performance'))}</h4>"
    if not found:
        return f"{title}<p>{escape(say('Too few labels yet.'))}</p>"
    rows = {
        named(one["name"], say): (
            one["value"],
            f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
            + (f" · {say('at training')} {one['baseline']:.3f}" if one["baseline"] is not None else ""),
            "",
        )
        for one in found["metrics"]
    }
    return f'{title}<p class="esp-small">{escape(say("labels"))}: {found["n"]:,}</p>{bars(rows)}'
