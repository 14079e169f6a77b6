"""Pages for people: an index, and the API to try; nothing is loaded from elsewhere, so they work without a network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from html import escape
from importlib.resources import files

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from common.serving.cards import ModelCard

# Swagger UI in the package fastapi-offline (MIT), which exists to carry it.
ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
DOCS = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<link rel="stylesheet" href="docs/swagger-ui.css"><link rel="icon" href="data:,">
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script><script src="docs/start.js"></script></html>"""
START = """SwaggerUIBundle({
  url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null, tryItOutEnabled: true,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset]
});
"""


def add_docs(app: FastAPI) -> None:
    """`GET /docs`; the page asks for `/openapi.json` with what the browser has shown for itself."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(DOCS.format(title=escape(app.title)))

    @app.get("/docs/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        if name == "start.js":
            return Response(START, media_type="text/javascript")
        if name not in ASSETS:
            raise HTTPException(404)
        return Response(_content(name), media_type=ASSETS[name], headers={"Cache-Control": "private, max-age=86400"})


@lru_cache
def _content(name: str) -> bytes:
    return (files("fastapi_offline") / "static" / name).read_bytes()


def index(vertical: str, cards: Sequence[ModelCard], *, console: bool = False) -> str:
    """The systems of a service and their routes, with a link to the `console` where there is one."""
    link = '<a href="console">Console</a> · ' if console else ""
    rows = "".join(
        f"<tr><td><b>{escape(card.system)}</b><br>{escape(card.summary)}</td><td>{card.status}"
        f"{' · simulated data' if card.simulated else ''}<br>{escape(card.version or card.reason)}</td>"
        f"<td>{'<br>'.join(f'<code>POST {escape(route)}</code>' for route in card.routes)}</td></tr>"
        for card in cards
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Espalier {escape(vertical)}</title>
<style>body{{font:16px/1.5 system-ui;max-width:60rem;margin:3rem auto;padding:0 1rem}}
td{{padding:.5rem 1rem .5rem 0;vertical-align:top;border-top:1px solid #ccc}}</style>
<h1>Espalier {escape(vertical)}</h1><table>{rows or "<tr><td>This vertical has no system yet.</td></tr>"}</table>
<p>{link}<a href="docs">API docs</a> · <a href="v1/models">models</a> · <a href="health/ready">readiness</a> ·
<a href="metrics">metrics</a></p></html>"""
