"""Pictures of answers, as HTML and SVG: a map over its image, a plan as a Gantt chart, probabilities, bars.

Drawn here because Matplotlib would cost the service 60 MB, and a script in the page a hole in its policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

# Okabe and Ito's colours, which the colour-blind tell apart; the lighter ones first, as names stand on them.
COLOURS = ("#56B4E9", "#E69F00", "#7FC8A9", "#F0E442", "#CC79A7", "#8DA0CB", "#D9A27E", "#B3B3B3")
RESOURCES = ("machine", "resource", "line")
TASKS = ("task", "operation", "name", "label")
JOBS = ("job", "order")
MOST_BARS = 500
WIDTH, LEFT, ROW = 760, 110, 30


SLIDE = """element.addEventListener("input", event => {
  event.target.closest(".esp-overlay").querySelector(".esp-map").style.opacity = event.target.value;
});"""
"""What an element that holds such an overlay listens by."""


def overlay(source: str, below: str, title: str, opacity: str) -> str:
    """An image, or a map over the image it is about with a slider for its opacity. All four are safe HTML."""
    if not below:
        return f'<img class="esp-picture" src="{source}" alt="{title}">'
    return (
        f'<div class="esp-overlay"><div class="esp-stack"><img src="{below}" alt="">'
        f'<img class="esp-map" src="{source}" alt="{title}" style="opacity: 0.6"></div>'
        f'<label>{opacity} <input type="range" min="0" max="1" step="0.05" value="0.6"></label></div>'
    )


def gantt(rows: Sequence[Any]) -> str:
    """Intervals with `start` and `end` on a line per machine, coloured by job."""
    bars = [row for row in rows if isinstance(row, dict) and _number(row.get("start")) and _number(row.get("end"))]
    if not bars:
        return "<p>–</p>"
    lines = list(dict.fromkeys(_first(bar, RESOURCES) for bar in bars))
    jobs = list(dict.fromkeys(_first(bar, JOBS) or _first(bar, TASKS) for bar in bars))
    begin, end = min(bar["start"] for bar in bars), max(bar["end"] for bar in bars)
    scale = (WIDTH - LEFT - 20) / ((end - begin) or 1)
    height = ROW * len(lines) + 40
    parts = []
    for i, line in enumerate(lines):
        y = ROW * i
        parts.append(f'<text x="0" y="{y + 20}">{escape(line[:16])}</text>')
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y + ROW}" y2="{y + ROW}" class="esp-grid"/>')
    for bar in bars[:MOST_BARS]:
        job, task = _first(bar, JOBS) or _first(bar, TASKS), _first(bar, TASKS) or _first(bar, JOBS)
        x, y = LEFT + (bar["start"] - begin) * scale, ROW * lines.index(_first(bar, RESOURCES)) + 4
        width = max((bar["end"] - bar["start"]) * scale, 1)
        name = escape(task if task == job or not job else f"{job} {task}")
        title = f"<title>{name}: {bar['start']:g} – {bar['end']:g}</title>"
        colour = COLOURS[jobs.index(job) % len(COLOURS)]
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="22" rx="3" fill="{colour}">{title}</rect>')
        if width > 8 * len(name):
            parts.append(f'<text x="{x + 4:.1f}" y="{y + 16}" class="esp-on-bar">{name}</text>')
    for i in range(6):
        x, at = LEFT + (WIDTH - LEFT - 20) * i / 5, begin + (end - begin) * i / 5
        parts.append(f'<text x="{x:.0f}" y="{height - 14}" text-anchor="middle">{at:.4g}</text>')
    return (
        f'<div class="esp-wide"><svg class="esp-gantt" role="img" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}">{"".join(parts)}</svg></div>'
    )


def meters(shares: Mapping[str, float]) -> str:
    """Shares from 0 to 1 as bars; the names are safe HTML."""
    return bars({name: (share, f"{share:.1%}", "") for name, share in shares.items()})


def bars(rows: Mapping[str, tuple[float, str, str]]) -> str:
    """Name -> (length from 0 to 1, what stands at its end, class); the names are safe HTML."""
    lines = "".join(
        f'<tr><th>{name}</th><td><span class="esp-bar {kind}" style="width: {min(max(length, 0), 1):.1%}"></span></td>'
        f"<td>{escape(text)}</td></tr>"
        for name, (length, text, kind) in rows.items()
    )
    return f'<table class="esp-bars">{lines}</table>'


def _first(bar: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((str(bar[name]) for name in names if bar.get(name) is not None), "")


def _number(value: Any) -> bool:
    return isinstance(value, int | float)
