"""The chart as a page in a real Chromium, and as a picture."""

from __future__ import annotations

import io
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hall import EVIL, planned
from PIL import Image

from manufacturing.production_scheduling.checker import measure
from manufacturing.production_scheduling.explain import critical_path
from manufacturing.production_scheduling.gantt import Story, facts, page, policy, setups_of
from manufacturing.production_scheduling.picture import picture
from manufacturing.production_scheduling.problem import Assignment, Job, Machine, Operation, Problem, Schedule

ORIGIN = datetime(2026, 1, 5, 6, tzinfo=timezone(timedelta(hours=1)))


def story() -> Story:
    problem, schedule = planned()
    path = critical_path(problem, schedule)
    keys = [(link.job, link.operation) for link in path]
    return Story(bound=500, gap=0.125, path=keys, why=dict.fromkeys(keys, f"why {EVIL}"))


def large(jobs: int = 500, machines: int = 20) -> tuple[Problem, Schedule]:
    """10,000 operations, one machine after the other."""
    names = [f"M{number:02}" for number in range(machines)]
    steps = tuple(Operation(durations={name: 10}) for name in names)
    problem = Problem(
        name="large",
        machines=tuple(Machine(name=name) for name in names),
        jobs=tuple(Job(name=f"J{number}", operations=steps) for number in range(jobs)),
    )
    rows = [
        Assignment(job=f"J{j}", operation=str(m + 1), machine=names[m], start=10 * (j + m), end=10 * (j + m + 1))
        for j in range(jobs)
        for m in range(machines)
    ]
    return problem, Schedule(assignments=tuple(rows))


@pytest.fixture
def look(chromium: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Open a page from a file; gives it and what it complains of or asks for."""
    contexts = []

    def look(text: str, **settings: Any) -> tuple[Any, list[str]]:
        file = tmp_path / f"{len(contexts)}.html"
        file.write_text(text, encoding="utf-8")
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, "locale": "en-US", **settings})
        contexts.append(context)
        context.set_default_timeout(20_000)
        tab, complaints = context.new_page(), []
        tab.on("console", lambda said: complaints.append(said.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda asked: None if asked.url == file.as_uri() else complaints.append(asked.url))
        tab.goto(file.as_uri())
        settle(tab)
        return tab, complaints

    yield look
    for context in contexts:
        context.close()


def settle(tab: Any) -> None:
    tab.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def pixels(tab: Any, name: str = "") -> np.ndarray:
    settle(tab)
    content = tab.screenshot()
    if name and (folder := os.environ.get("ESPALIER_SCREENSHOTS")):
        (Path(folder) / f"{name}.png").write_bytes(content)
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def test_a_weighted_objective_stands_beside_its_bound() -> None:
    problem, schedule = planned()
    weighted = problem.changed(objective={"makespan": 1, "tardiness": 2})
    told = {name: value for name, value, *_ in facts(weighted, schedule, story())}
    figures = measure(weighted, schedule)
    assert told["Objective"] == f"{figures['makespan'] + 2 * figures['tardiness']:,}"
    alone = facts(problem.changed(objective={"makespan": 1}), schedule, story())
    assert "Objective" not in [name for name, *_ in alone]


def test_the_page_shows_the_plan_and_complains_of_nothing(look: Callable[..., Any]) -> None:
    problem, schedule = planned()
    tab, complaints = look(page(problem, schedule, story(), origin=ORIGIN))
    assert tab.locator("h1").inner_text() == problem.name
    facts = tab.locator("dl").inner_text()
    late = measure(problem, schedule)["late"]
    for fact in (f"Makespan\n{schedule.makespan}", "Bound\n500", "Gap\n12.5 %", f"Late jobs\n{late} of 3"):
        assert fact in facts.replace("\n\n", "\n"), facts
    plain = pixels(tab, "gantt")
    tab.get_by_label("critical path").check()
    assert (pixels(tab, "gantt-path") != plain).any()
    tab.get_by_label("critical path").uncheck()
    assert (pixels(tab) == plain).mean() > 0.999
    tab.get_by_role("combobox", name="Job").fill("O-4")
    assert (pixels(tab, "gantt-job") != plain).any()
    tab.locator("summary").click()
    rows = tab.locator("tr").all_inner_texts()
    assert len(rows) == 1 + len(schedule.assignments)
    assert any(row.startswith("O-4\tmill\tMill\tMon 5 Jan") for row in rows)
    assert complaints == []


def test_keys_go_from_operation_to_operation_and_it_is_told(look: Callable[..., Any]) -> None:
    problem, schedule = planned()
    tab, complaints = look(page(problem, schedule, story()))
    canvas = tab.locator("canvas")
    canvas.focus()
    assert "16 operations of 4 jobs on 4 machines" in (canvas.get_attribute("aria-label") or "")
    said = tab.locator("[role=status]")
    first = min((one for one in schedule.assignments if one.machine == "Saw"), key=lambda one: one.start)
    tab.keyboard.press("ArrowRight")
    assert f"· {first.operation}, {first.start} to {first.end} ({first.end - first.start}), on Saw" in said.inner_text()
    tab.keyboard.press("ArrowRight")
    assert f"{first.start} to {first.end} " not in said.inner_text()
    tab.keyboard.press("ArrowDown")
    assert "on Mill" in said.inner_text()
    assert "by millers" in said.inner_text()
    before = pixels(tab)
    tab.keyboard.press("Enter")
    assert tab.get_by_role("combobox", name="Job").input_value()
    assert (pixels(tab) != before).any()
    tab.keyboard.press("+")
    tab.keyboard.press("Escape")
    assert tab.get_by_role("combobox", name="Job").input_value() == ""
    assert complaints == []


def test_hover_drag_and_wheel(look: Callable[..., Any]) -> None:
    problem, schedule = planned()
    tab, complaints = look(page(problem, schedule, story()))
    area = tab.locator("canvas").bounding_box()
    tip = tab.locator("#tip")
    assert tip.is_hidden()
    for x in range(int(area["x"]) + 70, 700, 6):
        tab.mouse.move(x, area["y"] + 60)
        if tip.is_visible():
            break
    assert "on Saw" in tip.inner_text()
    before = pixels(tab)
    tab.keyboard.down("Control")
    tab.mouse.wheel(0, -600)
    tab.keyboard.up("Control")
    near = pixels(tab)
    assert (near != before).any()
    tab.mouse.move(600, area["y"] + 300)
    tab.mouse.down()
    tab.mouse.move(300, area["y"] + 300, steps=4)
    tab.mouse.up()
    assert (pixels(tab) != near).any()
    tab.get_by_role("button", name="All").click()
    assert tab.get_by_role("combobox", name="Job").input_value() == ""
    assert complaints == []


def test_light_and_dark(look: Callable[..., Any]) -> None:
    problem, schedule = planned()
    tab, complaints = look(page(problem, schedule, story(), origin=ORIGIN), color_scheme="dark")
    dark = pixels(tab, "gantt-dark")
    assert dark.mean() < 90
    tab.get_by_label("light or dark").click()
    assert pixels(tab).mean() > 190
    narrow, more = look(page(problem, schedule), viewport={"width": 390, "height": 700})
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 390
    pixels(narrow, "gantt-phone")
    assert complaints == more == []


def test_ten_thousand_operations_are_drawn_fast(look: Callable[..., Any]) -> None:
    problem, schedule = large()
    started = time.process_time()
    text = page(problem, schedule)
    assert time.process_time() - started < 3
    assert len(text) < 700_000
    tab, complaints = look(text)
    pixels(tab, "gantt-large")
    took = tab.evaluate("(() => { const t = performance.now(); draw(); return performance.now() - t; })()")
    assert took < 250, f"a frame takes {took:.0f} ms"
    assert complaints == []


def test_names_are_text_and_never_code() -> None:
    problem, schedule = planned()
    text = page(problem, schedule, story())
    assert EVIL not in text
    assert text.count("<script") == 2
    data = re.search(r'<script type="application/json" id="plan">(.*?)</script>', text, re.DOTALL)
    assert data
    plan = json.loads(data[1])
    assert EVIL in [job["name"] for job in plan["jobs"]]
    assert len(plan["bars"]) == len(schedule.assignments)
    assert [plan["bars"][index][1] for index in plan["path"]] == [operation for _, operation in story().path]
    hashed = re.search(r"'sha256-[^']+'", policy())
    assert hashed
    assert hashed[0] in text
    for mark in ("@hash@", "@script@", "@title@", "@data@"):
        assert mark not in text


def test_a_name_that_looks_like_a_mark_stays_a_name() -> None:
    problem = Problem.model_validate(
        {
            "name": "@data@ @script@",
            "machines": [{"name": "@title@"}],
            "jobs": [{"name": "@hash@", "operations": [{"durations": {"@title@": 1}}]}],
        }
    )
    row = {"job": "@hash@", "operation": "1", "machine": "@title@", "start": 0, "end": 1}
    text = page(problem, Schedule.model_validate({"assignments": [row]}))
    assert "<title>@data@ @script@</title>" in text
    data = re.search(r'<script type="application/json" id="plan">(.*?)</script>', text, re.DOTALL)
    assert data
    assert json.loads(data[1])["jobs"][0]["name"] == "@hash@"


def test_setups_stand_before_their_operations() -> None:
    problem, schedule = planned()
    found = setups_of(problem, schedule)
    order = sorted((one for one in schedule.assignments if one.machine == "Mill"), key=lambda one: one.start)
    families = {job.name: job.operations[1].family for job in problem.jobs}
    before, expected = "steel", {}
    for one in order:
        if families[one.job] != before:
            expected[one.job, one.operation] = 20
        before = families[one.job]
    assert found == expected
    assert found


@pytest.mark.parametrize("form", ["png", "svg"])
def test_picture(form: Any) -> None:
    problem, schedule = planned()
    content = picture(problem, schedule, story(), format=form)
    assert content == picture(problem, schedule, story(), format=form)
    if form == "png":
        image = Image.open(io.BytesIO(content))
        assert image.size[0] > 1000
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 50
    else:
        assert EVIL.encode() not in content
        ElementTree.fromstring(content)
    if folder := os.environ.get("ESPALIER_SCREENSHOTS"):
        (Path(folder) / f"gantt-picture.{form}").write_bytes(content)


def test_a_large_picture_is_drawn_in_seconds() -> None:
    problem, schedule = large()
    started = time.process_time()
    picture(problem, schedule)
    assert time.process_time() - started < 10
