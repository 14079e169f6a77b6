"""Tokens signed by real keys, an issuer's key set from a file and from a real HTTP server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from guarded import AUDIENCE, ISSUER, PREDICT, Issuer, Service

from common.errors import UsageError
from common.serving.security import jwks, tokens
from common.serving.security.caller import Caller
from common.serving.security.errors import IssuerUnavailable
from common.serving.security.jwks import Jwks, parse
from common.serving.security.tokens import Expired, Tokens


def verifier(source: str) -> Tokens:
    return Tokens(ISSUER, AUDIENCE, Jwks(source), 5, 10)


def ask(verifier: Tokens, token: str) -> Caller | None:
    return asyncio.run(verifier.caller(token))


@pytest.fixture
def file(tmp_path: Path, issuer: Issuer) -> str:
    place = tmp_path / "jwks.json"
    place.write_text(json.dumps(issuer.jwks()))
    return str(place)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_good_token_has_a_caller_with_the_scopes_we_know(tmp_path: Path, algorithm: str) -> None:
    issuer = Issuer()
    issuer.add(algorithm, "one")
    issuer.add("ES256", "two")
    place = tmp_path / "jwks.json"
    place.write_text(json.dumps(issuer.jwks()))
    found = ask(verifier(str(place)), issuer.token(scope="openid predict:adder profile feedback"))
    assert found == Caller("jwt:client-7", frozenset({"predict:adder", "feedback"}), 5, 10)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "another service"},
        {"aud": None},
        {"exp": None},
        {"sub": None},
        {"sub": "x" * 300},
        {"nbf": int(time.time()) + 3600},
        {"iat": int(time.time()) + 3600},
        {"exp": "soon"},
        {"aud": {"espalier": 1}},
    ],
)
def test_wrong_claims_are_refused(file: str, issuer: Issuer, claims: dict[str, Any]) -> None:
    assert ask(verifier(file), issuer.token(**claims)) is None


def test_an_expired_token_is_called_so_only_when_it_was_ours(file: str, issuer: Issuer) -> None:
    old = issuer.token(exp=int(time.time()) - 60)
    with pytest.raises(Expired):
        ask(verifier(file), old)
    stranger = Issuer()
    stranger.add("ES256", "one")
    assert ask(verifier(file), stranger.token(exp=int(time.time()) - 60)) is None


def test_no_scope_is_no_right(file: str, issuer: Issuer) -> None:
    for scope in (None, "", ["admin"], 7, "Admin predict predict:"):
        found = ask(verifier(file), issuer.token(scope=scope))
        assert found is not None
        assert found.scopes == frozenset()


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def test_no_signature_and_shared_secrets_are_refused(file: str, issuer: Issuer) -> None:
    """The classic forgeries (RFC 8725): alg none, and HS256 keyed with the public key."""
    verify = verifier(file)
    body = issuer.token().split(".")[1]
    public = json.dumps(issuer.jwks()["keys"][0]).encode()
    for algorithm in ("none", "None", "NONE", "HS256", "HS512", "RS256", "ES384", "", None, 5, ["ES256"]):
        head = encoded(json.dumps({"alg": algorithm, "typ": "JWT", "kid": "one"}).encode())
        signed = encoded(hmac.digest(public, f"{head}.{body}".encode(), hashlib.sha256))
        for signature in ("", signed, issuer.token().split(".")[2]):
            assert ask(verify, f"{head}.{body}.{signature}") is None


def test_a_tampered_token_and_rubbish_are_refused(file: str, issuer: Issuer) -> None:
    verify = verifier(file)
    head, body, signature = issuer.token(scope="feedback").split(".")
    more = encoded(base64.urlsafe_b64decode(body + "==").replace(b"feedback", b"admin   "))
    deep = encoded(b"[" * 100_000)
    for text in (
        f"{head}.{more}.{signature}",
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{deep}.{body}.{signature}",
        f"{encoded(b'[' * 5000)}.{body}.{signature}",
        "..",
        "a.b.c",
        "é.é.é",
        "\x00",
        encoded(b'{"alg":"ES256","kid":{"a":1}}') + f".{body}.{signature}",
        encoded(b'{"alg":"ES256","kid":"one","crit":["x"],"x":1}') + f".{body}.{signature}",
    ):
        assert ask(verify, text) is None
    assert ask(verify, f"{head}.{body}.{signature}")


def test_a_verified_token_is_kept_but_not_past_its_expiry(
    file: str, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = verifier(file)
    long, short = issuer.token(), issuer.token(exp=int(time.time()) + 5)
    assert verify.kept(long) is None
    assert ask(verify, long) is verify.kept(long)
    ask(verify, short)
    now = time.time()
    monkeypatch.setattr(tokens.time, "time", lambda: now + 20)
    assert verify.kept(short) is None
    assert verify.kept(long)
    monkeypatch.setattr(tokens.time, "time", lambda: now + tokens.KEEP_S + 1)
    assert verify.kept(long) is None


def test_the_kept_tokens_are_bounded(file: str, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST_KEPT", 8)
    verify = verifier(file)
    made = [issuer.token(sub=str(i)) for i in range(30)]
    for token in made:
        ask(verify, token)
        assert len(verify._kept) <= 8
    assert verify.kept(made[-1])


def test_a_key_set_needs_a_usable_public_key(issuer: Issuer) -> None:
    from jwt.algorithms import RSAAlgorithm

    shared = {"kty": "oct", "k": encoded(b"s" * 32), "kid": "one"}
    short = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)
    for keys in ([], [shared], [short], ["x"], [{"kty": "RSA"}], [issuer.jwks()["keys"][0] | {"use": "enc"}]):
        with pytest.raises(UsageError):
            parse(json.dumps({"keys": keys}).encode(), "here")
    for content in (b"", b"[]", b"{}", b'{"keys": 7}', b"[" * 100_000):
        with pytest.raises(UsageError, match="not a JWK set"):
            parse(content, "here")
    with pytest.raises(UsageError, match="a private key"):
        parse(json.dumps({"keys": [issuer.jwks()["keys"][0] | {"d": "AAAA"}]}).encode(), "here")
    with pytest.raises(UsageError, match="cannot be read"):
        Jwks("/no/such/file")


@dataclass
class Web:
    """The issuer's real HTTP server: what it answers, how slowly, how often it was asked."""

    url: str = ""
    content: bytes = b""
    status: int = 200
    delay_s: float = 0
    asked: int = 0


@pytest.fixture
def web(issuer: Issuer) -> Iterator[Web]:
    web = Web(content=json.dumps(issuer.jwks()).encode())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.asked += 1
            time.sleep(web.delay_s)
            self.send_response(web.status)
            self.send_header("location", "/elsewhere")
            self.send_header("content-length", str(len(web.content)))
            self.end_headers()
            self.wfile.write(web.content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    web.url = f"http://127.0.0.1:{server.server_port}/jwks"
    yield web
    server.shutdown()
    server.server_close()


def test_many_requests_share_one_fetch(web: Web, issuer: Issuer) -> None:
    async def run() -> None:
        verify = verifier(web.url)
        made = [issuer.token(sub=str(i)) for i in range(50)]
        assert all(await asyncio.gather(*(verify.caller(token) for token in made)))

    asyncio.run(run())
    assert web.asked == 1


def test_a_new_key_is_fetched_when_a_token_shows_it_and_made_up_ids_are_not(
    web: Web, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        verify = verifier(web.url)
        assert await verify.caller(issuer.token())
        issuer.add("EdDSA", "two")
        web.content = json.dumps(issuer.jwks()).encode()
        assert await verify.caller(issuer.token("two")) is None  # too early to ask again
        assert web.asked == 1
        monkeypatch.setattr(jwks, "COOLDOWN_S", 0)
        assert await verify.caller(issuer.token("two"))
        assert web.asked == 2

    asyncio.run(run())


def test_a_withdrawn_key_is_forgotten(web: Web, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "COOLDOWN_S", 0)

    async def run() -> None:
        verify = verifier(web.url)
        old = issuer.token(sub="a")
        assert await verify.caller(old)
        issuer.keys.clear()
        issuer.add("ES256", "two")
        web.content = json.dumps(issuer.jwks()).encode()
        verify.jwks._fetched -= 1.5 * jwks.FRESH_S
        assert await verify.caller(old)  # known keys do not wait for the fetch
        while "one" in verify.jwks._keys:
            await asyncio.sleep(0.01)
        assert await verify.caller(old) is None
        assert await verify.caller(issuer.token("two"))

    asyncio.run(run())


def test_after_an_idle_time_a_withdrawn_key_is_not_believed_once_more(
    web: Web, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        monkeypatch.setattr(jwks, "COOLDOWN_S", 0)
        verify = verifier(web.url)
        old = issuer.token(sub="a")
        assert await verify.caller(old)
        issuer.keys.clear()
        issuer.add("ES256", "two")
        web.content = json.dumps(issuer.jwks()).encode()
        verify.jwks._fetched -= 3 * jwks.FRESH_S
        assert await verify.caller(old) is None

    asyncio.run(run())


@pytest.mark.parametrize("fault", ["status", "redirect", "content", "size", "slow", "gone"])
def test_an_issuer_that_is_down_is_503_then_known_keys_go_on(
    web: Web, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(jwks, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(jwks, "COOLDOWN_S", 0)
    good = web.content

    async def run() -> None:
        verify = verifier("http://127.0.0.1:9/jwks" if fault == "gone" else web.url)
        match fault:
            case "status":
                web.status = 500
            case "redirect":
                web.status = 302
            case "content":
                web.content = b"<html>"
            case "size":
                web.content = b"[" + b" " * (2 << 20)
            case "slow":
                web.delay_s = 0.5
        with pytest.raises(IssuerUnavailable):
            await verify.caller(issuer.token())
        if fault == "gone":
            return
        web.status, web.content, web.delay_s = 200, good, 0
        assert await verify.caller(issuer.token())
        web.status = 500
        monkeypatch.setattr(jwks, "FRESH_S", 0)
        assert await verify.caller(issuer.token(sub="other"))
        monkeypatch.setattr(jwks, "STALE_S", 0)
        with pytest.raises(IssuerUnavailable):
            await verify.caller(issuer.token(sub="third"))

    asyncio.run(run())


def test_through_the_service(service: Service, issuer: Issuer, file: str) -> None:
    settings = service.settings
    key = service.key("feedback")
    settings.jwt_issuer, settings.jwt_audience, settings.jwt_jwks = ISSUER, AUDIENCE, file
    with service.client() as client:

        def send(token: str) -> Any:
            return client.post(PREDICT, headers={"authorization": f"Bearer {token}"})

        good = issuer.token()
        for _ in range(2):
            assert send(good).json() == {"caller": "jwt:client-7"}
        assert client.post(PREDICT, headers={"x-api-key": good}).is_success
        assert send(issuer.token(scope="feedback")).status_code == 403
        assert client.post("/v1/feedback", headers=key).is_success
        expired = send(issuer.token(exp=int(time.time()) - 60))
        assert expired.status_code == 401
        assert "expired" in expired.headers["www-authenticate"]
        wrong = send(issuer.token(iss="x"))
        assert wrong.status_code == 401
        assert wrong.json()["detail"] == client.post(PREDICT).json()["detail"]
