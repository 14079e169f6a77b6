from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # so that "garden:train" can be imported in every import mode

import common.system
from common.config import settings


@pytest.fixture
def garden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The two systems of `garden.py` as if they alone were installed, and an empty home."""
    entries = [
        EntryPoint(f"garden.{name}", f"garden:{attribute}", "espalier.systems")
        for name, attribute in (("growth", "SYSTEM"), ("wild", "WILD"))
    ]
    monkeypatch.setattr(common.system, "entry_points", lambda group: entries)
    for name in ("TRACKING_URI", "SIGNING_KEY", "VERIFY_KEY", "DATA_MIRROR", "OFFLINE"):
        monkeypatch.delenv(f"ESPALIER_{name}", raising=False)
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A web server; `server.answer` is (status, promised length, body), `server.asked` the paths requested."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.asked.append(self.path)
            status, length, body = web.answer
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    web: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.answer, web.asked = (404, 0, b""), []
    web.url = f"http://127.0.0.1:{web.server_port}"
    threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield web
    web.shutdown()
    web.server_close()
