"""The HTML report: one file that opens anywhere, prints well and loads nothing from outside.

The template `report.html.j2` lies beside this module and must be listed as package data.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import rc_context
from matplotlib.figure import Figure

from common.data.card import Published
from common.evaluation.plot_style import STYLE
from common.evaluation.report import Metric, Report, best_published
from common.files import write_whole


@dataclass(frozen=True)
class Section:
    """A part of the page: paragraphs (blank lines between them), figures, and a table of like rows."""

    title: str
    text: str = ""
    figures: Sequence[Figure] = ()
    table: Sequence[Mapping[str, Any]] = ()


def write_page(path: Path, report: Report, sections: Sequence[Section]) -> Path:
    """Render the report and its sections to `path`, whole or not at all, and return the path.

    Figures become SVG images in data URIs, their label the alt text. Every name is escaped.
    """
    environment = Environment(
        loader=PackageLoader("common.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number, image=image, paragraphs=paragraphs, best=best_published, by_source=by_source
    )
    environment.tests["numeric"] = numeric
    template = environment.get_template("report.html.j2")
    write_whole(path, template.render(report=report, sections=sections))
    return path


def by_source(published: Sequence[Published]) -> list[tuple[tuple[str, str], dict[str, dict[str, float]]]]:
    """Published values as a table per protocol and source: model, then metric."""
    found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for entry in published:
        models = found.setdefault((entry.protocol, entry.source), {})
        models.setdefault(entry.model, {})[entry.metric] = entry.value
    return list(found.items())


def number(value: Any) -> str:
    """A table cell: three decimals, none from 100 up, a dash for nothing, an interval in brackets."""
    if value is None:
        return "–"
    if isinstance(value, Metric):
        return f"{number(value.value)} [{number(value.low)}, {number(value.high)}]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"
    return str(value)


def numeric(value: Any) -> bool:
    """Whether a cell is set flush right: numbers, intervals and missing ones."""
    return value is None or (isinstance(value, int | float | Metric) and not isinstance(value, bool))


def image(figure: Figure) -> str:
    """The figure as an SVG data URI; the same figure gives the same bytes."""
    drawn = BytesIO()
    with rc_context(STYLE):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.getvalue()).decode()


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text: blank lines part them."""
    return [part.strip() for part in text.split("\n\n") if part.strip()]
