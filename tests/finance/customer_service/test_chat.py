"""The chat page as a person uses it: by keyboard, in both languages, through a reload and a lost connection."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

SERVICE = """
import sys
sys.path.insert(0, {folder!r})
from test_routes import SYSTEM, Clerk
from common.serving.app import create_app
from common.serving.run import run_app
run_app(create_app("toy", systems=[SYSTEM], predictors={{"toy.desk": Clerk()}}), port=0)
"""


@pytest.fixture(scope="module")
def address(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    code = SERVICE.format(folder=str(Path(__file__).parent))
    home = str(tmp_path_factory.mktemp("home"))
    return serve(code, ESPALIER_HOME=home, DATABASE_URL="", ESPALIER_CONSOLE="false")


class Page:
    """The page, and everything that went wrong on it."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.faults = page, []
        page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(url) else self.faults.append(asked.url))

    def said(self) -> list[str]:
        return self.page.locator("#log p:not(.mine)").all_inner_texts()

    def say(self, text: str) -> list[str]:
        before = len(self.said())
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")
        return self.new(before)

    def new(self, before: int) -> list[str]:
        self.page.locator("#log p:not(.mine)").nth(before).wait_for()
        self.page.locator("#busy", has_text="…").wait_for(state="detached")
        return self.said()[before:]


@pytest.fixture
def look(chromium: Any, address: str) -> Iterator[Callable[..., Page]]:
    contexts = []

    def look(language: str = "en", width: int = 1000, **settings: Any) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": 700}, **settings)
        contexts.append(context)
        context.set_default_timeout(20_000)
        page = Page(context.new_page(), address)
        page.page.goto(f"{address}/v1/desk/chat?lang={language}")
        page.new(0)
        return page

    yield look
    for context in contexts:
        context.close()


def test_a_dialogue_by_keyboard_alone(look: Callable[..., Page]) -> None:
    view = look()
    assert view.said()[0].startswith("Hello, I am the bank's assistant")
    assert "made up" in view.page.locator("#demo").inner_text()
    view.say("I want to block my card ending 1234")
    view.say("62220001")
    view.say("1990-04-12")
    assert view.say("246810")[-1].startswith("Shall I block the card •• 1234")
    mine = view.page.locator("#log p.mine").all_inner_texts()
    assert mine == ["I want to block my card ending 1234", "••••••••", "••••-••-••", "••••••"]
    before = len(view.said())
    view.page.locator("#options button", has_text="yes").focus()
    view.page.keyboard.press("Enter")
    assert view.new(before)[0] == "The card •• 1234 is blocked. Your reference is B-1234."
    view.say("no")
    view.say("bye")
    assert view.page.locator("#text").is_disabled()
    assert view.page.locator("#busy").inner_text() == "This conversation has ended."
    view.page.locator("#new").focus()
    view.page.keyboard.press("Enter")
    view.page.locator("#text:enabled").wait_for()
    assert view.page.evaluate("document.activeElement.id") == "text"
    assert len(view.said()) == 1
    assert view.faults == []


def test_in_chinese_on_a_telephone(look: Callable[..., Page]) -> None:
    view = look("zh", width=390)
    assert view.page.title() == "客户服务"
    assert view.said()[0].startswith("您好")
    assert view.say("我要挂失银行卡") == ["我需要先核实您的身份。请问您的账号是多少？"]
    assert view.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert view.page.evaluate("document.documentElement.lang") == "zh-CN"
    assert view.faults == []


def test_the_page_follows_the_customers_language(look: Callable[..., Page]) -> None:
    view = look()
    view.say("汇率")
    assert view.page.locator("form button").inner_text() == "发送"
    view.page.locator("#language").click()
    view.page.locator("form button", has_text="Send").wait_for()
    assert view.faults == []


def test_everything_has_a_name_and_news_are_announced(look: Callable[..., Page]) -> None:
    page = look().page
    assert page.get_by_label("Your message").get_attribute("id") == "text"
    assert page.get_by_role("log", name="Conversation").get_attribute("aria-live") == "polite"
    names = page.locator("button").all_inner_texts()
    assert all(names)
    assert page.locator("[role=status]").count() == 1


def test_the_newest_message_is_in_sight(look: Callable[..., Page]) -> None:
    view = look(width=390)
    for text in ("block my card ending 1234", "62220001", "1990-04-12", "246810"):
        view.say(text)
    log, last = view.page.locator("#log").bounding_box(), view.page.locator("#log p").last.bounding_box()
    assert last["y"] + last["height"] <= log["y"] + log["height"] + 1


def test_a_reload_goes_on(look: Callable[..., Page]) -> None:
    view = look()
    asked = view.say("block my card")
    view.page.reload()
    assert view.new(0) == asked
    assert view.say("62220001") == ["And your date of birth?"]
    assert view.faults == []


def test_a_lost_connection_loses_no_message(look: Callable[..., Page]) -> None:
    view = look()
    view.page.route("**/messages", lambda route: route.abort())
    assert view.say("block my card") == ["The service did not answer. Your message has not been lost."]
    view.page.unroute("**/messages")
    before = len(view.said())
    view.page.locator("#options button", has_text="Send again").click()
    assert view.new(before)[0].startswith("First I have to make sure it is you.")


def test_what_is_said_is_text_and_never_runs(look: Callable[..., Page]) -> None:
    view = look()
    view.say("<img src=x onerror=alert(1)><script>alert(2)</script>")
    assert view.page.locator("#log p.mine").inner_text().startswith("<img")
    assert view.page.locator("#log img, #log script").count() == 0
    assert view.faults == []


def test_by_websocket_over_the_wire(address: str) -> None:
    client = pytest.importorskip("websockets.sync.client", reason="websockets is not installed")
    import httpx
    from websockets.exceptions import ConnectionClosed

    id = httpx.post(f"{address}/v1/desk/sessions", json={}).json()["id"]
    url = f"{address.replace('http', 'ws')}/v1/desk/sessions/{id}/ws"
    with client.connect(url) as socket:
        assert json.loads(socket.recv(10))["turn"] == 0
        socket.send('{"text": "我要挂失银行卡"}')
        assert json.loads(socket.recv(10))["language"] == "zh"
        socket.send("x" * (2 * 1024**2 + 1))
        with pytest.raises(ConnectionClosed):
            socket.recv(10)
    assert httpx.get(f"{address}/v1/desk/sessions/{id}").json()["turn"] == 1


def test_the_page_speaks_as_the_browser_prefers_unless_it_is_told(address: str) -> None:
    def lang(query: str = "", **headers: str) -> str:
        page = httpx.get(f"{address}/v1/desk/chat{query}", headers=headers)
        assert page.headers["vary"] == "Accept-Language"
        return page.text.partition('<html lang="')[2].partition('"')[0]

    assert lang(**{"accept-language": "zh-CN,zh;q=.9,en;q=.5"}) == "zh"
    assert lang("?lang=en", **{"accept-language": "zh-CN"}) == "en"
    assert lang(**{"accept-language": "de"}) == "en"
