"""A page of a system's own: one HTML file with one script in it, which may call this service and nothing else."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

from fastapi.requests import Request
from fastapi.responses import HTMLResponse

from common.console.words import language_of


class ScriptedPage:
    """`<path>.html`, with `@lang@` for the language and `@script@` for `<path>.js`."""

    def __init__(self, path: Path) -> None:
        script = path.with_suffix(".js").read_text(encoding="utf-8")
        self._html = path.with_suffix(".html").read_text(encoding="utf-8").replace("@script@", script)
        digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
        self._policy = (
            f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; connect-src 'self'; "
            "img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        )

    def answer(self, request: Request, language: str | None, headers: Mapping[str, str]) -> HTMLResponse:
        """The page in the language asked for, else as the browser prefers."""
        spoken = language_of(language or "", request.headers.get("accept-language", ""))
        own = {**headers, "content-security-policy": self._policy, "vary": "Accept-Language"}
        return HTMLResponse(self._html.replace("@lang@", spoken), headers=own)
