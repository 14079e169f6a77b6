"""Security headers on every answer (OWASP Secure Headers, REST Security), CORS for an allow-list of origins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import UsageError

Header = tuple[bytes, bytes]
CONTROL = re.compile(rb"[\x00-\x1f\x7f]")

NOT_SNIFFED = (b"x-content-type-options", b"nosniff")
NO_REFERRER = (b"referrer-policy", b"no-referrer")
NOT_STORED = (b"cache-control", b"no-store")
NOT_FRAMED = (b"x-frame-options", b"DENY")
TLS_ONLY = (b"strict-transport-security", b"max-age=31536000")
CLOSE = (b"connection", b"close")
POLICY = b"content-security-policy"

DATA = (NOT_SNIFFED, NO_REFERRER, (POLICY, b"default-src 'none'; frame-ancestors 'none'"))
"""JSON, text, images: nothing in them may run or load anything, should a browser show them."""

_FENCE = "frame-ancestors 'none'; base-uri 'none'; object-src 'none'; form-action 'self'"
# Swagger UI writes styles into its elements.
_DOCS = f"default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; {_FENCE}"
# Gradio compiles templates in the browser and plays sound and pictures from blobs.
_CONSOLE = (
    f"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; worker-src 'self' blob:; "
    f"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    f"connect-src 'self' blob: data:; {_FENCE}"
)
_PAGE = f"default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; {_FENCE}"
# First segment of the path -> what pages below it may load. Our own pages have styles and pictures, no script.
PAGES = {"docs": _DOCS, "console": _CONSOLE}

CLOSING = frozenset({408, 431})
"""After these the connection has a request in it that nobody will read to its end."""


class SecureHeaders:
    """Adds them around everything, also around answers of other middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; headers are added to its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = secured(message["status"], message.get("headers", ()), scope)
            await send(message)

        await self.app(scope, receive, send_secured)


def secured(status: int, given: Iterable[Header], scope: Scope) -> list[Header]:
    """The headers of an answer and what belongs to them."""
    given = list(given)
    page = caching = own = False
    for name, value in given:
        if name == b"content-type":
            page = value.startswith(b"text/html")
        elif name == b"cache-control":
            caching = True
        elif name == POLICY:
            own |= b"default-src" in value
    added = _page_headers(scope["path"]) if page else DATA
    # A page with a whole policy, such as the hash of its only script, knows better; browsers would obey both.
    headers = [*given, *(header for header in added if not (own and header[0] == POLICY))]
    if not caching:
        headers.append(NOT_STORED)
    if scope["scheme"] == "https":  # by uvicorn from X-Forwarded-Proto, when the proxy is a trusted one
        headers.append(TLS_ONLY)
    if status in CLOSING:
        headers.append(CLOSE)
    return headers


def start_of_answer(given: Iterable[Header]) -> bytes:
    """Status line (200) and headers that all answers of one model share, for a connection to send as they are."""
    headers = [*given, *DATA, NOT_STORED]
    if any(CONTROL.search(name + value) for name, value in headers):
        raise ValueError(f"a control character in a header of {headers}")
    return b"HTTP/1.1 200 OK\r\n" + b"".join(lines(headers))


def lines(headers: Iterable[Header]) -> list[bytes]:
    """Headers as they are sent."""
    return [b"%b: %b\r\n" % header for header in headers]


def _page_headers(path: str) -> tuple[Header, ...]:
    policy = PAGES.get(path.split("/")[1] if path.startswith("/") else "", _PAGE)
    return NOT_SNIFFED, NO_REFERRER, NOT_FRAMED, (POLICY, policy.encode())


CORS = {
    "allow_methods": ("GET", "POST", "DELETE"),
    "allow_headers": ("Authorization", "Content-Type", "Last-Event-ID", "X-API-Key", "X-Request-Id"),
    "expose_headers": (
        "Location",
        "Retry-After",
        "WWW-Authenticate",
        "X-Espalier-Simulated",
        "X-Model-Version",
        "X-Request-Id",
    ),
    "allow_credentials": False,
    "max_age": 600,
}
"""Options of Starlette's `CORSMiddleware`; credentials that browsers add by themselves stay at home."""


def origins_of(text: str) -> tuple[str, ...]:
    """The origins of a comma-separated list; raises `UsageError` for what is none, and for `*`."""
    origins = tuple(part.strip() for part in text.split(",") if part.strip())
    for origin in origins:
        parts = urlsplit(origin)
        exact = "*" not in origin and origin == f"{parts.scheme}://{parts.netloc}"
        if parts.scheme not in ("http", "https") or not parts.hostname or not exact:
            raise UsageError(
                "not an origin",
                where="ESPALIER_CORS_ORIGINS",
                got=repr(origin),
                expected="https://host or https://host:port",
            )
    return origins


def cors(origins: Sequence[str]) -> dict[str, object]:
    """Arguments of `CORSMiddleware` for these origins."""
    return {**CORS, "allow_origins": list(origins)}
