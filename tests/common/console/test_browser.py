"""The console in a real headless Chromium, before a real service."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import workshop
from PIL import Image, ImageDraw

from common.serving.security.keyfile import create_key

pytest.importorskip("gradio")
SERVE = """
import workshop
workshop.register()
from pathlib import Path
from common.serving.app import create_app
from common.serving.run import run_app
bundles = {{"workshop.prices": Path({bundle!r})}}
run_app(create_app("workshop", bundles, systems=workshop.SYSTEMS, predictors=workshop.predictors()), port=0)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("console")


@pytest.fixture(scope="module")
def started(folder: Path, serve: Callable[..., str]) -> Callable[..., str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("common.system.entry_points", None)
        workshop.register()
        bundle = workshop.price_bundle(folder / "one", 2.0, simulated=True)
    here = str(Path(__file__).parent)
    code = SERVE.format(bundle=str(bundle))
    return lambda **more: serve(code, PYTHONPATH=here, ESPALIER_HOME=str(folder / f"home{len(more)}"), **more)


@pytest.fixture(scope="module")
def open_service(started: Callable[..., str]) -> str:
    """Without keys, as on a laptop."""
    return started()


@pytest.fixture(scope="module")
def keys(folder: Path) -> dict[str, str]:
    scopes = {"all": ("predict:*", "feedback"), "one": ("predict:prices",), "admin": ("admin",)}
    return {name: create_key(folder / "keys.json", scope)[0] for name, scope in scopes.items()}


@pytest.fixture(scope="module")
def closed_service(started: Callable[..., str], keys: dict[str, str], folder: Path) -> str:
    """With keys, in production, where the console is asked for."""
    production = {"ESPALIER_ENVIRONMENT": "production", "ESPALIER_CONSOLE": "true"}
    return started(ESPALIER_KEYS_FILE=str(folder / "keys.json"), **production)


def tab(page: Any, name: str) -> None:
    """Choose a tab; those that a phone has no room for are in a menu."""
    page.locator(".esp-head").wait_for()
    page.get_by_role("tab", name=re.compile(".")).locator("visible=true").first.wait_for()
    if not page.get_by_role("tab", name=name, exact=True).locator("visible=true").count():
        page.locator(".overflow-menu > button").click()
        page.locator(".overflow-dropdown button", has_text=name).click()
        return
    page.get_by_role("tab", name=name, exact=True).click()


def press(page: Any, name: str, sees: str = ".esp-answer, .esp-problem") -> str:
    """Press the button of the tab in front, and return what the answer says."""
    page.get_by_role("button", name=name, exact=True).locator("visible=true").click()
    found = page.locator(sees).locator("visible=true").first
    found.wait_for()
    return str(found.inner_text())


def fill(page: Any, label: str, value: str) -> None:
    page.get_by_label(label).locator("visible=true").fill(value)


def keep(page: Any, name: str) -> None:
    """A picture for whoever wants to look: `ESPALIER_SCREENSHOTS=folder`."""
    if folder := os.environ.get("ESPALIER_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def test_a_form_is_filled_answered_and_labelled(visit: Callable[..., Any], open_service: str) -> None:
    seen = visit(f"{open_service}/console")
    page = seen.page
    tab(page, "prices")
    assert page.get_by_label("age (optional)").input_value() == ""
    fill(page, "Weight <b>in</b> kg", "12.5")
    answer = press(page, "Ask the model")
    assert "price\n50" in answer
    assert "Trained on simulated data" in answer
    fill(page, "What came true? (1 or 0, a number, a name)", "1")
    assert "The label is kept." in press(page, "Send the label", '.esp-note:has-text("kept")')
    assert "price\n25" in press(page, "haggle", '.esp-decision:has-text("25")')
    keep(page, "prices")
    page.get_by_label("Start from").locator("visible=true").click()
    page.get_by_role("option", name="Example 2").click()
    page.wait_for_function("[...document.querySelectorAll('textarea')].some(area => area.value == 'second')")
    assert page.get_by_label("colour", exact=True).input_value() == "green"
    assert (seen.elsewhere, seen.complaints) == ([], [])


def test_bad_input_is_a_sentence_with_the_field_and_no_error(visit: Callable[..., Any], open_service: str) -> None:
    seen = visit(f"{open_service}/console", width=390)
    tab(seen.page, "prices")
    fill(seen.page, "age (optional)", "two years")
    fill(seen.page, "Weight <b>in</b> kg", "5000")
    said = press(seen.page, "Ask the model")
    keep(seen.page, "refused-phone")
    assert "not accepted (first of 2 errors): got 5000, expected a number" in said
    assert '"two years"' in said
    assert seen.complaints == []
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_picture_is_uploaded_and_its_defects_lie_over_it(
    visit: Callable[..., Any], open_service: str, tmp_path: Path
) -> None:
    picture = Image.new("RGB", (200, 120), "lightgrey")
    ImageDraw.Draw(picture).ellipse((60, 40, 95, 70), fill="black")
    picture.save(tmp_path / "part.jpg")
    seen = visit(f"{open_service}/console")
    page = seen.page
    tab(page, "inspection")
    page.set_input_files("input[type=file]", tmp_path / "part.jpg")
    page.locator(".esp-form img").wait_for()
    answer = press(page, "Ask the model")
    assert "decision\ndefect" in answer.replace("\n\n", "\n")
    assert page.locator(".esp-map").evaluate("image => image.complete && image.naturalWidth") == 200
    below, over = (page.locator(f".esp-stack img >> nth={i}").bounding_box() for i in (0, 1))
    assert below == over
    page.locator(".esp-overlay input").fill("0.2")
    assert page.locator(".esp-map").evaluate("image => getComputedStyle(image).opacity") == "0.2"
    keep(page, "inspection")
    assert (seen.elsewhere, seen.complaints) == ([], [])


def test_the_microphone_is_recorded_and_heard(visit: Callable[..., Any], open_service: str) -> None:
    seen = visit(f"{open_service}/console", permissions=["microphone"])
    page = seen.page
    tab(page, "speech")
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(1200)
    page.get_by_role("button", name="Stop", exact=True).first.click()
    page.locator(".esp-form audio, .esp-form #waveform, .esp-form [data-testid^=waveform]").first.wait_for()
    answer = press(page, "Ask the model")
    for _ in range(10):  # the recording may still be on its way up
        if "seconds" in answer:
            break
        page.wait_for_timeout(300)
        answer = press(page, "Ask the model")
    keep(page, "speech")
    found = re.search(r"seconds\s+([\d.]+)[\s\S]*loudness\s+([\d.e-]+)[\s\S]*rate\s+(\d+)", answer)
    assert found, answer
    seconds, loudness, rate = map(float, found.groups())
    assert 0.5 < seconds < 10
    assert loudness > 0.001  # Chromium's fake microphone beeps
    assert rate >= 8000
    assert (seen.elsewhere, seen.complaints) == ([], [])


def test_a_plan_is_drawn(visit: Callable[..., Any], open_service: str) -> None:
    seen = visit(f"{open_service}/console")
    tab(seen.page, "planning")
    editor = seen.page.locator(".cm-content").locator("visible=true")
    editor.fill("[[3, 1], [2, 2], [1, 4]]")
    assert "makespan" in press(seen.page, "Ask the model")
    assert seen.page.locator(".esp-gantt rect").count() == 6
    keep(seen.page, "planning")
    assert (seen.elsewhere, seen.complaints) == ([], [])


def test_models_and_what_is_not_trained_and_monitoring(visit: Callable[..., Any], open_service: str) -> None:
    seen = visit(f"{open_service}/console?lang=zh")
    page = seen.page
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    tab(page, "speech")
    page.get_by_role("button", name="录制", exact=True).wait_for()  # a word of Gradio's own
    tab(page, "absent")
    page.get_by_text("尚无训练好的模型").wait_for()
    tab(page, "模型")
    page.get_by_role("cell", name="workshop.prices").first.wait_for()
    page.get_by_text("模型卡: workshop.prices").click()
    page.get_by_role("heading", name=re.compile("workshop.prices")).wait_for()
    keep(page, "models")
    tab(page, "监控")
    page.get_by_text("没有受监控的模型").wait_for()
    page.get_by_role("link", name="English").click()
    page.get_by_role("tab", name="Monitoring").wait_for()
    assert "/console/en/" in page.url
    assert (seen.elsewhere, seen.complaints) == ([], [])


def test_a_person_logs_in_and_another_sees_nothing_of_hers(
    visit: Callable[..., Any], closed_service: str, keys: dict[str, str]
) -> None:
    login = {"http_credentials": {"username": "any", "password": keys["all"]}}
    first, second = (visit(f"{closed_service}/console", **login) for _ in range(2))
    for seen in (first, second):
        tab(seen.page, "prices")
    fill(first.page, "note (optional)", "a secret of hers")
    assert "a secret of hers" in press(first.page, "Ask the model")
    second.page.reload()
    tab(second.page, "prices")
    assert "a secret of hers" not in second.page.content()
    assert "a secret of hers" not in press(second.page, "Ask the model")
    tab(second.page, "Monitoring")
    second.page.get_by_text("expected the scope metrics").wait_for()
    assert first.complaints + second.complaints == []


def test_who_lacks_the_scope_does_not_get_in(closed_service: str, keys: dict[str, str], chromium: Any) -> None:
    for credentials, status in ((None, 401), (keys["one"], 403), ("esp_wrong_key", 401)):
        login = {"http_credentials": {"username": "any", "password": credentials}} if credentials else {}
        context = chromium.new_context(**login)
        try:
            answer = context.request.get(f"{closed_service}/console", headers={"accept": "text/html"})
            assert answer.status == status
        finally:
            context.close()


def test_a_hot_swap_under_an_open_page_is_noticed(
    visit: Callable[..., Any], closed_service: str, keys: dict[str, str], folder: Path
) -> None:
    seen = visit(f"{closed_service}/console", http_credentials={"username": "any", "password": keys["admin"]})
    page = seen.page
    tab(page, "prices")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("common.system.entry_points", None)
        workshop.register()
        homes = [home for home in folder.glob("home*") if (home / "audit.key").exists()]
        for home in homes:
            workshop.price_bundle(home / "bundles" / "workshop.prices" / "next", 7.0, 50.0, simulated=True)
    headers = {"x-api-key": keys["admin"]}
    swap = f"{closed_service}/v1/deployments/prices/swap"
    answer = httpx.post(swap, json={"bundle": "next", "allow_simulated": True}, headers=headers)
    assert answer.status_code == 200, answer.text
    assert "Another model answered" in press(page, "Ask the model")
    page.reload()
    page.get_by_role("tab", name="prices").click()
    page.get_by_label("Weight up to 50 kg").wait_for()
    assert seen.complaints == []
