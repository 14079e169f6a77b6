"""`/console`: a small ASGI app that imports Gradio and builds the page when somebody first asks for it.

`import gradio` costs seconds and 100 MB, which a service that nobody looks at should not pay. A page's address names
its language and, by a fingerprint, the models it was made for: a swap gives a new page, and the form of an old one,
still open in a browser, goes on asking by its own fields.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import Message, Receive, Scope, Send

from common import __version__
from common.config import Settings
from common.console.uploads import Uploads, paths_in
from common.console.words import LANGUAGES, language_of
from common.errors import RequestError
from common.serving.body import read_all
from common.serving.limits import Limits
from common.serving.problems import install
from common.serving.slot import Slot

if TYPE_CHECKING:
    from fastapi import FastAPI

MOST_PAGES = 6
ASSET_S = 86_400
FILES = "gradio_api/file="
# What the page needs of Gradio. Its other routes (proxy, API description, generated code, histories) stay closed.
OPEN = re.compile(
    r"(assets/|static/|svelte/|theme\.css$|config$|favicon\.ico$|"
    r"gradio_api/(queue/(join|data)$|heartbeat/\w+$|upload$|upload_progress$|file=|cancel$|reset$|startup-events$|app_id$))"
)
# Tags of Gradio's page that point elsewhere; `<base href="./">` says nothing and is against our policy.
ELSEWHERE = re.compile(rb'<meta\s+(?:property="og:|name="twitter:)[^>]*>|<link rel="manifest"[^>]*>|<base [^>]*>')
# Gradio's own words (Record, Drop an image) go by the browser's language; here they follow the page's.
HEAD = b"""<head><link rel="icon" href="data:,"><script>
Object.defineProperty(navigator, "language", {get: () => ({zh: "zh-CN"})["%b"] || "en"});
</script>"""
# Beside the policy of `security/headers.py`, and both hold: of inline scripts only Gradio's own, known by a nonce.
# It compiles its templates in the browser, so `eval` must stay.
SCRIPTS = b"script-src 'self' 'nonce-%b' 'unsafe-eval'"


class ConsoleMissing(RequestError):
    """Gradio is not installed."""

    status = 503


def wanted(settings: Settings) -> bool:
    """What the setting says; without one, on a laptop only."""
    return settings.environment == "development" if settings.console is None else settings.console


def add_console(app: FastAPI, slots: Sequence[Slot], limits: Limits) -> Console:
    """Mount it; call this after all other routes of `app`."""
    console = Console(app, slots, limits)
    # A mount begins with its slash, and the redirect of Starlette would name a host and a scheme of its own.
    app.add_route("/console", lambda request: RedirectResponse(f"console/?{request.url.query}", 303))
    app.mount("/console", console)
    return console


class Console:
    """The ASGI app; see the module."""

    def __init__(self, app: FastAPI, slots: Sequence[Slot], limits: Limits) -> None:
        self._app, self._slots, self._limits = app, slots, limits
        self._pages: dict[str, tuple[Any, AsyncExitStack]] = {}
        self._building = asyncio.Lock()
        self._uploads: Uploads | None = None

    @property
    def ready(self) -> bool:
        """Whether the extra is installed; imports nothing."""
        return find_spec("gradio") is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request below `/console`."""
        if scope["type"] != "http":
            raise HTTPException(404)
        scope["state"]["route"] = "/console"
        if not self.ready:
            fix = "run `pip install 'espalier[console]'` on the server"
            raise ConsoleMissing("the console needs Gradio, which is not installed", fix=fix)
        path = scope["path"].removeprefix(scope.get("root_path", "")).removeprefix("/")
        language, _, rest = path.partition("/")
        build, slash, rest = rest.partition("/")
        if not rest and (language in LANGUAGES or not path):
            if scope["method"] not in ("GET", "HEAD"):
                raise HTTPException(405, headers={"Allow": "GET"})
            if slash and build == self.fingerprint():
                await self._serve(await self._page(language, build), language, "", scope, receive, send)
            else:
                # The Location is relative: behind a proxy we do not know our own address.
                to = f"{'../' * path.count('/')}{language or _asked(Request(scope))}/{self.fingerprint()}/"
                await RedirectResponse(to, 303)(scope, receive, send)
        elif OPEN.match(rest) and (page := self._pages.get(f"{language}/{build}")):
            await self._serve(page[0], language, rest, scope, receive, send)
        else:
            raise HTTPException(404)

    def stop(self) -> None:
        """End the streams that keep open pages alive, so that the service can stop."""
        for app, _ in self._pages.values():
            app.stop_event.set()

    async def close(self) -> None:
        """End the pages and delete all uploads."""
        self.stop()
        for _, stack in self._pages.values():
            await stack.aclose()
        if self._uploads:
            shutil.rmtree(self._uploads.folder, ignore_errors=True)

    def fingerprint(self) -> str:
        """Of the models that are live now."""
        state = [(slot.system.name, slot.status, slot.version, slot.reason) for slot in self._slots]
        return sha256(json.dumps([__version__, state]).encode()).hexdigest()[:12]

    async def _page(self, language: str, build: str) -> Any:
        name = f"{language}/{build}"
        async with self._building:
            if name not in self._pages:
                app = await asyncio.to_thread(self._build, language)
                stack = AsyncExitStack()
                await stack.enter_async_context(app.router.lifespan_context(app))
                app.get_blocks().run_startup_events()
                await app.get_blocks().run_extra_startup_events()
                self._pages[name] = app, stack
                for old in list(self._pages)[:-MOST_PAGES]:
                    await self._pages.pop(old)[1].aclose()
            return self._pages[name][0]

    def _build(self, language: str) -> Any:
        if self._uploads is None:
            self._uploads = Uploads(Path(tempfile.mkdtemp(prefix="espalier-console-")))
            os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(self._uploads.folder)}
        from common.console.ask import Ask
        from common.console.gradio_app import gradio_app
        from common.console.page import build

        ask = Ask(self._app)
        blocks = build(self._app.title, self._slots, self._app.openapi(), ask, self._uploads, language)
        # In JSON an upload is a third longer, and should still be a request.
        most_bytes = max([self._limits.body_bytes, *(slot.body_bytes for slot in self._slots)])
        page = gradio_app(blocks, most_bytes * 3 // 4)
        install(page, self._app.state.metrics.rejected)
        return page

    async def _serve(self, page: Any, language: str, rest: str, scope: Scope, receive: Receive, send: Send) -> None:
        inner = dict(scope, root_path=scope["path"].removesuffix(rest).rstrip("/"))
        assert self._uploads
        if rest.startswith(FILES) and not self._uploads.holds("/" + unquote(rest.removeprefix(FILES)).lstrip("/")):
            raise HTTPException(404)
        if rest == "gradio_api/queue/join":
            receive = await self._checked(scope, receive, self._uploads)
        if not rest:
            send = _tidied(send, language)
            inner["headers"] = [(k, v) for k, v in scope["headers"] if k != b"accept-encoding"]
        elif rest.startswith(("assets/", "static/", "svelte/")):
            send = _kept(send)
        await page(inner, receive, send)

    async def _checked(self, scope: Scope, receive: Receive, uploads: Uploads) -> Receive:
        """The body of a click, refused when it names a file that is not an upload: Gradio would fetch addresses."""
        body = await read_all(scope, receive, self._limits.batch_body_bytes)
        try:
            paths = list(paths_in(json.loads(body)))
        except (ValueError, RecursionError):
            raise HTTPException(400, "The body is not JSON.") from None
        if not all(uploads.holds(path) for path in paths):
            raise HTTPException(403, "Only files that were uploaded here can be sent.")
        rest = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def again() -> Message:
            return next(rest, None) or await receive()

        return again


def _asked(request: Request) -> str:
    return language_of(request.query_params.get("lang", ""), request.headers.get("accept-language", ""))


def _kept(send: Send) -> Send:
    """Assets may stay in the browser: their names change with Gradio's version."""

    async def keep(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            headers = [(k, v) for k, v in message["headers"] if k != b"cache-control"]
            message["headers"] = [*headers, (b"cache-control", b"private, max-age=%d" % ASSET_S)]
        await send(message)

    return keep


def _tidied(send: Send, language: str) -> Send:
    """Gradio's page with its own language, without the tags that point elsewhere."""
    start: Message = {}
    chunks: list[bytes] = []

    async def tidy(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
        if message["type"] != "http.response.body":
            return
        chunks.append(message.get("body", b""))
        if message.get("more_body"):
            return
        html = b"".join(chunks)
        html = ELSEWHERE.sub(b"", html).replace(b"<head>", HEAD % language.encode(), 1)
        html = html.replace(b'lang="en"', b'lang="%b"' % language.encode(), 1)
        nonce = token_urlsafe(16).encode()
        html = html.replace(b"<script", b'<script nonce="%b"' % nonce)
        headers = [(k, v) for k, v in start["headers"] if k != b"content-length"]
        headers += [(b"content-length", str(len(html)).encode()), (b"content-security-policy", SCRIPTS % nonce)]
        await send({**start, "headers": headers})
        await send({"type": "http.response.body", "body": html})

    return tidy
