from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from common.evaluation import plots
from common.evaluation.fairness import group_report
from common.evaluation.page import Section, write_page
from common.evaluation.report import Report
from common.evaluation.stability import reference_histogram, stability_table

EVIL = "<script>alert('x')</script>"
GENERATOR = np.random.default_rng(0)
P = GENERATOR.beta(2, 5, 1500)
Y = (GENERATOR.random(1500) < P).astype(int)


def every_figure() -> list[Figure]:
    decision = (P > 0.3).astype(int)
    groups = np.append(np.repeat(["a", "b"], 740), ["few"] * 20)
    months = pd.DataFrame({"x": P, "month": np.tile(["2024-01", "2024-02", "2024-03"], 500)})
    return [
        plots.roc_pr(Y, P),
        plots.calibration(Y, P),
        plots.ks_curve(Y, P),
        plots.gains(Y, P),
        plots.score_distribution(Y, P, cutoff=0.3),
        plots.bars(
            ["one", "two"], [0.4, 0.2], "One leads", "share", intervals=[(0.3, 0.5), (0.1, 0.25)], reference=0.3
        ),
        plots.group_bars(group_report(Y, decision, P, groups, favourable=0), "letter"),
        plots.stability_lines(stability_table({"x": reference_histogram(P)}, months, by="month")),
    ]


class Loads(HTMLParser):
    """Collects what a browser would fetch or run, the ids, and images without alt text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.scripts = 0
        self.images = 0
        self.mute = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.scripts += tag in ("script", "iframe", "object", "embed")
        if tag == "img":
            self.images += 1
            self.mute += not values.get("alt")
        names = ("src", "srcset", "data", "poster", "background") + (("href",) if tag == "link" else ())
        self.loads += [value for name in names if (value := values.get(name))]


@pytest.fixture(scope="module")
def figures() -> list[Figure]:
    return every_figure()


def test_the_page_loads_nothing_and_every_image_has_alt_text(
    report: Report, figures: list[Figure], tmp_path: Path
) -> None:
    path = write_page(tmp_path / "report.html", report, [Section("Figures", "One.\n\nTwo.", figures)])
    html = path.read_text()
    page = Loads()
    page.feed(html)
    assert (page.scripts, page.images, page.mute) == (0, len(figures), 0)
    assert all(load.startswith("data:image/svg+xml;base64,") for load in page.loads)
    assert not re.search(r"@import|url\(", html)
    assert html.count("<p>One.</p>") == html.count("<p>Two.</p>") == 1


def test_titles_stay_inside_the_figure(figures: list[Figure]) -> None:
    for figure in figures:
        figure.draw_without_rendering()
        box = figure.get_tightbbox()
        assert box.x0 >= -0.05
        assert box.x1 <= figure.get_figwidth() + 0.05


def test_names_are_escaped(report: Report, tmp_path: Path) -> None:
    hostile = report.model_copy(
        update={
            "dataset": EVIL,
            "baselines": {EVIL: {"auc": 0.7}},
            "slices": [report.slices[0].model_copy(update={"group": EVIL})],
        }
    )
    figure = Figure()
    figure.set_label(f'"{EVIL}')
    section = Section(EVIL, EVIL, [figure], [{EVIL: EVIL}])
    html = write_page(tmp_path / "report.html", hostile, [section]).read_text()
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 7


def test_ours_stands_beside_floor_baselines_and_published(report: Report, tmp_path: Path) -> None:
    text = re.sub(r"<[^>]+>|\s+", " ", write_page(tmp_path / "report.html", report, []).read_text())
    row = re.sub(r"\s+", " ", text[text.index(" auc ") : text.index(" ece ")])
    for part in ("0.790 [0.760, 0.820]", "0.500", "0.770", "0.780", "0.770 LDA 5x2cv"):
        assert part in row
    assert "5x2cv · Somebody 2015" in text


def test_only_simulated_reports_have_the_banner(report: Report, tmp_path: Path) -> None:
    real = write_page(tmp_path / "real.html", report, []).read_text()
    fake = write_page(tmp_path / "fake.html", report.model_copy(update={"simulated": True}), []).read_text()
    assert "SIMULATED DATA" not in real
    assert "SIMULATED DATA" in fake


def test_the_same_run_gives_the_same_bytes(report: Report, tmp_path: Path) -> None:
    pages = [write_page(tmp_path / name, report, [Section("One", figures=[plots.ks_curve(Y, P)])]) for name in "ab"]
    assert pages[0].read_bytes() == pages[1].read_bytes()
