"""The bank in memory, and one over HTTP that misbehaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from talk import TODAY

from finance.customer_service.bank import BankError, MemoryBank
from finance.customer_service.bank_http import MOST_BYTES, HttpBank
from finance.customer_service.graph import load_tasks

Act = Callable[[BaseHTTPRequestHandler], None]


def answer(status: int, body: bytes, **headers: str) -> Act:
    def act(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return act


class Server:
    """A bank over HTTP that does what a test tells it, request by request."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.seen: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.hold = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.seen.append((self.path, json.loads(body), headers))
                server.acts.pop(0)(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/bank/"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def silent(self, handler: BaseHTTPRequestHandler) -> None:
        self.hold.wait(10)
        handler.close_connection = True


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.hold.set()
    server.http.shutdown()
    server.http.server_close()


def call(server: Server, *acts: Act) -> dict[str, str]:
    server.acts = list(acts)
    bank = HttpBank(server.url, "secret", httpx.Timeout(0.3))
    try:
        return bank.call("block_card", {"card": "1234"}, customer="c1", key="k1")
    finally:
        bank.close()


def test_an_operation_is_a_post(server: Server) -> None:
    assert call(server, answer(200, b'{"reference": "B-1"}')) == {"reference": "B-1"}
    ((path, body, headers),) = server.seen
    assert path == "/bank/block_card"
    assert body == {"customer": "c1", "arguments": {"card": "1234"}}
    assert headers["idempotency-key"] == "k1"
    assert headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (answer(404, b'{"error": "not_found"}'), "not_found"),
        (answer(422, b'{"detail": "?"}'), "invalid"),
        (answer(400, b"<html>"), "invalid"),
        (answer(200, b"<html>Welcome</html>"), "invalid"),
        (answer(200, b'["B-1"]'), "invalid"),
        (answer(200, b'{"reference": 7}'), "invalid"),
        (answer(200, b'{"reference": "' + b"x" * MOST_BYTES + b'"}'), "invalid"),
        (answer(302, b"{}", location="http://127.0.0.1:1/elsewhere"), "invalid"),
        (answer(204, b""), "invalid"),
        (answer(429, b"{}"), "unavailable"),
        (answer(500, b"Traceback"), "unavailable"),
    ],
)
def test_everything_else_is_an_error(server: Server, act: Act, code: str) -> None:
    with pytest.raises(BankError) as error:
        call(server, act)
    assert error.value.code == code
    assert len(server.seen) == 1


def test_no_answer_in_time(server: Server) -> None:
    with pytest.raises(BankError) as error:
        call(server, server.silent)
    assert error.value.code == "timeout"


def test_a_cut_connection(server: Server) -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
        handler.close_connection = True

    with pytest.raises(BankError) as error:
        call(server, cut)
    assert error.value.code == "unavailable"


def test_a_busy_bank_is_asked_twice_with_the_same_key(server: Server) -> None:
    assert call(server, answer(503, b""), answer(200, b'{"reference": "B-1"}')) == {"reference": "B-1"}
    assert [headers["idempotency-key"] for _, _, headers in server.seen] == ["k1", "k1"]
    with pytest.raises(BankError, match="unavailable"):
        call(server, answer(503, b""), answer(503, b""))


def test_nobody_there() -> None:
    bank = HttpBank("http://127.0.0.1:1/", timeout=httpx.Timeout(0.3))
    with pytest.raises(BankError, match="unavailable"):
        bank.call("balance", {}, customer="c1", key="k")


def test_the_bank_in_memory_has_every_operation_with_its_outputs_and_errors() -> None:
    values = {"account": "62220001", "birth": "1990-04-12", "code": "246810", "card": "1234", "amount": "250"}
    values |= {"date": "2026-11-20", "currency": "USD", "reason": "twice", "details": "x", "summary": "x"}
    for name, operation in load_tasks().operations.items():
        arguments = {each: values[each] for each in operation.arguments}
        assert MemoryBank(TODAY).call(name, arguments, customer="c1", key=name).keys() == operation.outputs.keys()


def test_a_second_call_with_the_same_key_does_nothing_twice() -> None:
    bank = MemoryBank(TODAY)
    first = bank.call("hand_over", {"summary": "x"}, customer="", key="k")
    assert bank.call("hand_over", {"summary": "x"}, customer="", key="k") == first
    assert bank.call("hand_over", {"summary": "x"}, customer="", key="other") != first


def test_three_wrong_codes_lock_the_account() -> None:
    bank = MemoryBank(TODAY)
    wrong = {"account": "62220001", "birth": "1990-04-12", "code": "000000"}
    codes = []
    for number in range(4):
        with pytest.raises(BankError) as error:
            bank.call("verify_code", wrong, customer="", key=str(number))
        codes.append(error.value.code)
    assert codes == ["wrong", "wrong", "wrong", "locked"]
