"""A chat endpoint that misbehaves: a real server on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from common.errors import UsageError
from common.llm.chat import MOST_BYTES, ChatEndpoint
from common.llm.writer import LlmSettings, Message, WriterFailed, writer

ASKED = [Message("system", "be brief"), Message("user", "secret question")]


def completion(text: object) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


class Server(ThreadingHTTPServer):
    """Answers each request with the next of `plan`: (status, body), None for never."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan: list[tuple[int, bytes] | None] = []
        self.heard: list[tuple[str, str | None, dict[str, object]]] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.heard.append((self.path, self.headers["Authorization"], body))
        planned = self.server.plan.pop(0)
        if planned is None:
            self.server.over.wait()
            return
        status, content = planned
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", self.server.url + "/elsewhere")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(OSError):  # the client had enough
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as served:
        threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield served
        served.over.set()
        served.shutdown()


def endpoint(server: Server, **settings: object) -> ChatEndpoint:
    known = {"url": server.url, "model": "tiny", "key": "sesame", "pause_s": 0, "timeout_s": 5}
    return ChatEndpoint(LlmSettings.model_validate(known | settings))


def test_it_writes(server: Server) -> None:
    server.plan = [(200, completion("  Hello. \n"))]
    assert endpoint(server, tokens=20).write(ASKED) == "Hello."
    path, key, body = server.heard[0]
    assert (path, key) == ("/v1/chat/completions", "Bearer sesame")
    assert body == {
        "model": "tiny",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "secret question"}],
        "temperature": 0,
        "max_tokens": 20,
    }


@pytest.mark.parametrize("status", [429, 500, 503])
def test_it_tries_again(server: Server, status: int) -> None:
    server.plan = [(status, b"busy"), (200, completion("ok"))]
    assert endpoint(server).write(ASKED) == "ok"
    server.plan = [(status, b"busy")] * 3
    with pytest.raises(WriterFailed, match=str(status)):
        endpoint(server, retries=2).write(ASKED)
    assert len(server.heard) == 5


def test_it_does_not_wait_forever(server: Server) -> None:
    server.plan = [None, (200, completion("late but here"))]
    assert endpoint(server, timeout_s=0.3).write(ASKED) == "late but here"
    server.plan = [None]
    with pytest.raises(WriterFailed, match="in time"):
        endpoint(server, timeout_s=0.05, retries=0).write(ASKED)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((200, b"<html>"), "no chat completion"),
        ((200, b"{}"), "no chat completion"),
        ((200, b'{"choices": []}'), "no chat completion"),
        ((200, completion(None)), "no chat completion"),
        ((200, completion(" ")), "empty"),
        ((200, b" " * (MOST_BYTES + 1)), "too long"),
        ((302, b""), "302"),
        ((401, b"no"), "401"),
    ],
)
def test_garbage_is_refused_at_once(server: Server, answer: tuple[int, bytes], why: str) -> None:
    server.plan = [answer]
    with pytest.raises(WriterFailed, match=why) as failed:
        endpoint(server).write(ASKED)
    assert len(server.heard) == 1
    assert "secret" not in str(failed.value)
    assert "sesame" not in str(failed.value)


def test_nobody_there() -> None:
    with Server() as gone:
        url = gone.url
    with pytest.raises(WriterFailed, match="connection failed"):
        ChatEndpoint(LlmSettings(url=url, retries=0)).write(ASKED)


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert writer(LlmSettings()) is None
    monkeypatch.setenv("ESPALIER_LLM_URL", "https://example.com/v1")
    monkeypatch.setenv("ESPALIER_LLM_KEY", "sesame")
    assert isinstance(writer(LlmSettings()), ChatEndpoint)
    assert "sesame" not in repr(LlmSettings())
    with pytest.raises(UsageError, match="plain text"):
        writer(LlmSettings(url="http://example.com/v1"))
    with pytest.raises(UsageError, match="endpoint"):
        writer(LlmSettings(url="example.com"))
