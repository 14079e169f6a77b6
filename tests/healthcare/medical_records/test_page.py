"""The page to read a note with: its script and policy, and a person with a browser."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from common.bundle import Bundle
from healthcare.medical_records import routes

BASE = "/v1/medical_records"
GERMAN = "Der Patient klagt nicht über Schmerzen und hat keine Allergien mit der Haut"


def test_the_page_runs_its_own_script_and_nothing_else(client: TestClient) -> None:
    page = client.get(f"{BASE}/page", headers={"accept-language": "zh-CN,zh;q=.9"})
    assert '<html lang="zh">' in page.text
    assert '<html lang="en">' in client.get(f"{BASE}/page?lang=en").text
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = page.headers["content-security-policy"]
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert not re.findall(r"https?://|@script@|@lang@", page.text)


SERVICE = """
from pathlib import Path
from healthcare.medical_records import SYSTEM
from common.serving.app import create_app
from common.serving.run import run_app
run_app(create_app("healthcare", {{SYSTEM.name: Path({path!r})}}, systems=[SYSTEM]), port=0)
"""


@pytest.fixture(scope="module")
def address(small: Bundle, serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    home = str(tmp_path_factory.mktemp("home"))
    return serve(SERVICE.format(path=str(small.path)), ESPALIER_HOME=home, DATABASE_URL="", ESPALIER_CONSOLE="false")


def test_a_person_reads_a_note_on_the_page(address: str, chromium: Any) -> None:
    for language, width in (("en", 1200), ("zh", 390)):
        context = chromium.new_context(viewport={"width": width, "height": 900})
        page, faults = context.new_page(), []
        page.set_default_timeout(20_000)
        page.on("console", lambda said, faults=faults: faults.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error, faults=faults: faults.append(str(error)))
        page.on(
            "request", lambda asked, faults=faults: None if asked.url.startswith(address) else faults.append(asked.url)
        )
        page.goto(f"{address}{BASE}/page?lang={language}")
        page.locator("#example").click()
        page.locator("#go").click()
        page.locator("#found:visible").wait_for()
        denied, masked = (
            page.locator("#note .negated").all_inner_texts(),
            page.locator("#note .masked").all_inner_texts(),
        )
        assert "".join(denied) == {"en": "fever", "zh": "发热"}[language]
        assert "[NAME]" in masked
        assert not [name for name in ("Mary", "张伟") if name in page.locator("#note").inner_text()]
        assert "pneumonia" in page.locator("#note .uncertain").all_inner_texts() or language == "zh"
        line = page.locator("#summary button").first
        line.hover()
        assert "".join(page.locator("#note .lit").all_inner_texts()) == line.inner_text()
        page.mouse.move(0, 0)
        assert page.locator("#note .lit").count() == 0
        page.locator("#text").fill("🙂 <img src=x onerror=alert(1)> no fever")
        page.locator("#text").press("Control+a")
        page.locator("#go").click()
        page.locator("#note", has_text="onerror").wait_for()
        assert page.locator("#note .negated").all_inner_texts() == ["fever"]
        assert page.locator("#note img").count() == 0
        page.locator("#text").fill(GERMAN)
        page.locator("#go").click()
        page.locator("#fault", has_text="language").wait_for()
        assert page.locator("#found").is_hidden()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # The browser itself tells of the refused note.
        assert [fault for fault in faults if "422" not in fault] == []
        context.close()


def test_the_page_is_in_the_package() -> None:
    folder = Path(routes.__file__).parent
    assert {(folder / name).is_file() for name in ("page.html", "page.js")} == {True}
