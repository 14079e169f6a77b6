"""A real Chromium, and a real service to look at, for all tests of pages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
FLAGS += ("--disable-sync", "--no-first-run", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's headless Chromium, with a microphone that hums."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium: apt install chromium fonts-noto-cjk")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


class Watched:
    """A page, and what it must not do: load from elsewhere, break its policy, log an error."""

    def __init__(self, page: Any, origin: str) -> None:
        self.page, self.elsewhere, self.complaints = page, [], []
        page.on("request", lambda asked: self._note(asked.url, origin))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, url: str, origin: str) -> None:
        if not url.startswith((f"{origin}/", "data:", "blob:")):
            self.elsewhere.append(url)


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., str]]:
    """`serve(code, **environment)`: run code that serves an app in a process of its own; gives its address."""
    with ExitStack() as stack:
        yield lambda code, **environment: stack.enter_context(_served(code, environment))


@contextmanager
def _served(code: str, environment: dict[str, str]) -> Iterator[str]:
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout
        greeting = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", greeting)
        assert found, greeting
        yield found[0]
        process.terminate()
        process.wait(timeout=8)  # less than the drain: no open page holds up the end
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Watched]]:
    """`visit(url, width=..., **context)`: a page in a session of its own, loaded until it can be used."""
    contexts = []

    def visit(url: str, width: int = 1280, **settings: Any) -> Watched:
        context = chromium.new_context(viewport={"width": width, "height": 900}, **{"locale": "en-US", **settings})
        contexts.append(context)
        context.set_default_timeout(20_000)
        watched = Watched(context.new_page(), re.match(r"https?://[^/]+", url)[0])
        watched.page.goto(url)
        watched.page.wait_for_selector(".esp-head")
        return watched

    yield visit
    for context in contexts:
        context.close()
