"""A real server in production mode and clients that mean no good: never a 500, never a path, never another's value."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from urllib.parse import urlsplit

import httpx
import pytest
from raw_service import BATCH, GOOD, INFER, PREDICT, Service, refused

DEEP = 100_000
BODIES = {
    "deep list": (b"[" * DEEP, 400),
    "deep object": (b'{"age":' * DEEP, 400),
    "deep and closed": (b'{"age": ' + b"[" * DEEP + b"]" * DEEP + b"}", 400, 422),
    "deep in an unknown field": (b'{"age": 20, "x": ' + b"[" * 150 + b"]" * 150 + b"}", 400, 422),
    "NaN": (b'{"age": NaN}', 400, 422),
    "-Infinity": (b'{"age": -Infinity}', 400, 422),
    "1e400": (b'{"age": 1e400}', 400, 422),
    "a huge integer": (b'{"age": ' + b"9" * 5000 + b"}", 400, 422),
    "minus nothing": (b'{"age": -}', 400),
    "a leading zero": (b'{"age": 020}', 400),
    "not UTF-8": (b'{"age": 20, "note": "\xff\xfe"}', 400, 422),
    "UTF-16": ('{"age": 20}'.encode("utf-16"), 400),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD, 400),
    "half a surrogate": (rb'{"age": 20, "note": "\ud800"}', 400, 422),
    "a NUL": (b'{"age": 20, "no\x00te": "x"}', 400, 422),
    "nothing": (b"", 400),
    "blanks": (b" " * 1000, 400),
    "two documents": (GOOD + GOOD, 400),
    "a comment": (b'{"age": 20} // yes', 400),
    "a trailing comma": (b'{"age": 20,}', 400),
    "a string": (b'"age"', 422),
    "null": (b"null", 422),
    "a million unknown fields": (b"{" + b",".join(b'"f%d":1' % i for i in range(100_000)) + b"}", 422),
    "a prototype": (b'{"age": 20, "__proto__": {"admin": true}}', 422),
    "a class": (b'{"age": 20, "__class__": "x"}', 422),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(service: Service, name: str) -> None:
    body, *statuses = BODIES[name]
    for path in (PREDICT, BATCH, INFER):
        [answer] = service.raw(service.post(body, path))
        refused(service, answer, *statuses, *((400, 422) if path != PREDICT else ()))


def test_batches(service: Service) -> None:
    refused(service, service.raw(service.post(b'{"rows": []}', BATCH))[0], 422)
    many = b'{"rows": [' + b",".join([GOOD] * 10_001) + b"]}"
    refused(service, service.raw(service.post(many, BATCH))[0], 422)
    large = b'{"rows": "' + b"x" * (9 * 2**20) + b'"}'
    refused(service, service.raw(service.post(large, BATCH))[0], 413)


def test_media_types_and_encodings(service: Service) -> None:
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
    ):
        refused(service, service.raw(service.post(GOOD, kind=kind))[0], 415)
    packed = gzip.compress(GOOD)
    for encoding in ("gzip", "deflate", "br", "identity, gzip"):
        refused(service, service.raw(service.post(packed, more=f"Content-Encoding: {encoding}\r\n"))[0], 415)
    without = service.head(f"POST {PREDICT} HTTP/1.1").replace(b"Content-Type: application/json\r\n", b"")
    refused(service, service.raw(without + b"Content-Length: 11\r\n\r\n" + GOOD)[0], 415)


FRAMES = {
    "both a length and chunks": "Content-Length: 11\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 11\r\nContent-Length: 12\r\n\r\n" + GOOD.decode(),
    "a length below zero": "Content-Length: -1\r\n\r\n",
    "a length that is no number": "Content-Length: eleven\r\n\r\n" + GOOD.decode(),
    "a length beyond all": f"Content-Length: {'9' * 40}\r\n\r\n" + GOOD.decode(),
    "a bad chunk": "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than said": "Transfer-Encoding: chunked\r\n\r\n2\r\n{}{}\r\n0\r\n\r\n",
    "an unknown coding": "Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a header without a colon": "X-Bad\r\nContent-Length: 2\r\n\r\n{}",
    "a blank in a name": "X Bad: 1\r\nContent-Length: 2\r\n\r\n{}",
    "a NUL in a value": "X-Bad: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
    "a folded line": "X-Bad: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames(service: Service, name: str) -> None:
    answers = service.raw(service.head(f"POST {PREDICT} HTTP/1.1") + FRAMES[name].encode(), answers=2)
    assert len(answers) == 1  # what another reader may take for a second request is none
    refused(service, answers[0], 400, 413, 422)


@pytest.mark.parametrize(
    "line",
    [
        "GET / HTTP/9.9",
        "GARBAGE",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "POST  /v1/adder/predict HTTP/1.1",
        "get / HTTP/1.1",
        "GET /\x00 HTTP/1.1",
        "GET http://[ HTTP/1.1",
    ],
)
def test_first_lines(service: Service, line: str) -> None:
    answers = service.raw(service.head(line) + b"\r\n")
    if answers:
        refused(service, answers[0], 400, 404, 405)


def test_methods(service: Service) -> None:
    for method in ("TRACE", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"):
        refused(service, service.raw(service.head(f"{method} {PREDICT} HTTP/1.1") + b"\r\n")[0], 403, 405)
    for line in ("CONNECT example.org:443 HTTP/1.1", "GET http://example.org/ HTTP/1.0"):
        for answer in service.raw(service.head(line) + b"\r\n"):
            assert answer[0] in (200, 400, 403, 404, 405)


def test_heads_that_are_too_large(service: Service) -> None:
    for extra in (
        "X-Long: " + "x" * 20_000,
        *["\r\n".join(f"X-{i}: 1" for i in range(200))],
        "X-Huge: " + "x" * 200_000,
    ):
        data = service.head(f"POST {PREDICT} HTTP/1.1") + f"{extra}\r\nContent-Length: 11\r\n\r\n".encode() + GOOD
        refused(service, service.raw(data)[0], 431)
    refused(service, service.raw(service.head(f"GET /{'x' * 30_000} HTTP/1.1") + b"\r\n")[0], 431)


NAMES = ["..", "../../etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "%00", "%0d%0aX-Injected:%201", "%ff", "a" * 5000]
NAMES += ["%F0%9F%92%A9", "..%5c..%5cboot.ini", "'%20OR%201=1--", "{system}", "%25252e"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_elsewhere(service: Service, name: str) -> None:
    key = {"X-API-Key": service.admin}
    paths = [f"/v2/models/{name}", f"/v2/models/adder/versions/{name}", f"/v1/models/{name}", f"/v1/decisions/{name}"]
    paths += [f"/docs/{name}", f"/v1/monitor/{name}", f"/{name}"]
    for path in paths:
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {service.admin}\r\n\r\n"
        answer = service.raw(head.encode())[0]
        assert b"root:" not in answer[2]
        assert "x-injected" not in answer[1]
        refused(service, answer, 400, 404, 422)
    found = httpx.post(f"{service.url}/v1/deployments/adder/swap", json={"bundle": name}, headers=key)
    assert found.status_code in (409, 422)
    assert found.headers["content-type"] == "application/problem+json"
    assert str(service.folder) not in found.text


def test_requests_one_after_the_other_without_waiting(service: Service) -> None:
    data = service.post(GOOD) + service.post(b"[") + service.post(b'{"age": 30}')
    answers = service.raw(data, answers=3)
    assert [status for status, _, _ in answers] == [200, 400, 200]
    assert json.loads(answers[2][2])["total"] == 31.0


def test_a_body_that_comes_after_its_answer_is_no_next_request(service: Service) -> None:
    at = urlsplit(service.url)
    with socket.create_connection((at.hostname or "", at.port or 0), timeout=20) as connection:
        stream = connection.makefile("rb")

        def status() -> int:
            first = stream.readline()
            headers = dict(line.split(b": ", 1) for line in iter(lambda: stream.readline().strip(), b""))
            stream.read(int(headers[b"content-length"]))
            return int(first.split()[1])

        for _ in range(3):
            head = service.head(f"POST {BATCH} HTTP/1.1").replace(b"X-API-Key: esp_", b"X-API-Key: x")
            connection.sendall(head + b"Content-Length: 200000\r\n\r\n")
            assert status() == 401  # without its body
            connection.sendall(b"x" * 200_000)
            connection.sendall(service.post(GOOD))
            assert status() == 200


def test_an_upgrade_where_there_is_no_stream(service: Service) -> None:
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n"
    for answer in service.raw(service.head(f"GET {PREDICT} HTTP/1.1") + upgrade):
        assert answer[0] in (400, 403, 404, 405)


def test_labels_of_decisions_that_are_none(service: Service) -> None:
    key = {"X-API-Key": service.keys[0]}
    for decision in ("0" * 24, "f" * 24, f"{'0' * 24}.0"):
        for _ in range(2):  # and once more
            body = {"labels": [{"decision": decision, "label": 1}]}
            found = httpx.post(f"{service.url}/v1/feedback", json=body, headers=key)
            assert found.status_code == 404
            assert found.headers["content-type"] == "application/problem+json"
    for decision in ("", "x", "0" * 24 + ".-1", "0" * 24 + ".9999999", "../0", "0" * 25):
        body = {"labels": [{"decision": decision, "label": 1}]}
        assert httpx.post(f"{service.url}/v1/feedback", json=body, headers=key).status_code == 422


def test_binary_tensors_that_lie_about_their_size(service: Service) -> None:
    def ask(tensor: dict[str, object], raw: bytes, length: str | None = None) -> tuple[int, dict[str, str], bytes]:
        head = json.dumps({"inputs": [tensor]}).encode()
        more = f"Inference-Header-Content-Length: {length or len(head)}\r\n"
        [answer] = service.raw(service.post(head + raw, INFER, more, "application/octet-stream"))
        return answer

    def tensor(shape: list[int], size: int, kind: str = "INT64", name: str = "age") -> dict[str, object]:
        return {"name": name, "datatype": kind, "shape": shape, "parameters": {"binary_data_size": size}}

    eight = (20).to_bytes(8, "little")
    for asked in (
        ask(tensor([1], 8), b""),
        ask(tensor([2], 8), eight),
        ask(tensor([1], 4), eight),
        ask(tensor([1], 10**12), eight),
        ask(tensor([10**12], 8), eight),
        ask(tensor([-1], 8), eight),
        ask(tensor([1], -8), eight),
        ask(tensor([1], 8, "FP128"), eight),
        ask(tensor([1], 8), eight, "-1"),
        ask(tensor([1], 8), eight, "999999"),
        ask(tensor([1], 8, "BYTES", "note"), b"\xff\xff\xff\xff1234"),
        ask(tensor([1], 4, "BYTES", "note"), b"\x09\x00\x00\x00"),
    ):
        refused(service, asked, 400, 413, 422)


def test_nobody_gets_what_another_has_sent(service: Service) -> None:
    stray: list[str] = []

    def talk(number: int) -> None:
        mine, other = f"canary-{number}-", f"canary-{1 - number}-"
        with httpx.Client(base_url=service.url, headers={"X-API-Key": service.keys[number]}) as client:
            for i in range(60):
                for body in (
                    {"age": 20, "note": f"{mine}{i}"},
                    {"age": f"{mine}{i}"},
                    {"age": 20, f"{mine}{i}": 1},
                    {"age": 20, "note": "refuse", "kind": f"{mine}{i}"},
                ):
                    answer = client.post(PREDICT, json=body)
                    if other in answer.text + str(answer.headers):
                        stray.append(answer.text)
                    assert answer.status_code in (200, 422)

    threads = [threading.Thread(target=talk, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not stray
    metrics = httpx.get(f"{service.url}/metrics").text
    assert "canary" not in metrics + service.log()


def test_the_server_is_well_after_all_this(service: Service) -> None:
    [(status, _, body)] = service.raw(service.post(GOOD))
    assert (status, json.loads(body)["total"]) == (200, 21.0)
    assert httpx.get(f"{service.url}/health/ready").status_code == 200
