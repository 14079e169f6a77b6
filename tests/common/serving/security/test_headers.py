from __future__ import annotations

import pytest
from guarded import PREDICT, Service, make_app
from starlette.testclient import TestClient

from common.errors import UsageError
from common.serving.security.headers import origins_of, secured

GOOD, EVIL = "https://app.example", "https://evil.example"


def test_every_answer_is_neither_sniffed_nor_stored_nor_framed(service: Service) -> None:
    headers = service.key("metrics")
    with service.client() as client:
        for response in (
            client.get("/health/live"),
            client.get("/v1/models"),
            client.get("/v1/monitor", headers=headers),
            client.get("/v1/monitor/broken", headers=headers),
            client.post(PREDICT, headers=headers),
        ):
            assert response.headers["x-content-type-options"] == "nosniff"
            assert response.headers["cache-control"] == "no-store"
            assert response.headers["referrer-policy"] == "no-referrer"
            assert response.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert "strict-transport-security" not in response.headers


def test_pages_may_load_what_they_need_and_are_never_framed(service: Service) -> None:
    with service.client() as client:
        page = client.get("/").headers["content-security-policy"]
        docs = client.get("/docs").headers["content-security-policy"]
    assert "script-src" not in page
    assert page.startswith("default-src 'none'")
    assert "script-src 'self';" in docs
    assert "http" not in docs
    assert all("frame-ancestors 'none'" in policy for policy in (page, docs))


def test_hsts_behind_tls_only(service: Service) -> None:
    with TestClient(make_app(service.settings), base_url="https://testserver") as client:
        assert client.get("/").headers["strict-transport-security"] == "max-age=31536000"


def test_cors_is_closed_by_default(service: Service) -> None:
    headers = service.key("predict:*")
    with service.client() as client:
        asked = {"origin": EVIL, "access-control-request-method": "POST"}
        assert client.options(PREDICT, headers=asked).status_code == 401
        response = client.post(PREDICT, headers=headers | {"origin": EVIL})
        assert not [name for name in response.headers if name.startswith("access-control")]


def test_an_allowed_origin_may_ask_and_read_refusals_too(service: Service) -> None:
    headers = service.key("predict:*")
    service.settings.cors_origins = f"{GOOD}, http://localhost:3000"
    with service.client() as client:
        asked = {
            "origin": GOOD,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization, content-type",
        }
        allowed = client.options(PREDICT, headers=asked)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == GOOD
        assert "access-control-allow-credentials" not in allowed.headers
        assert client.options(PREDICT, headers=asked | {"origin": EVIL}).status_code == 400
        for sent, status in ((headers, 200), ({}, 401)):
            response = client.post(PREDICT, headers=sent | {"origin": GOOD})
            assert response.status_code == status
            assert response.headers["access-control-allow-origin"] == GOOD
            assert "X-Request-Id" in response.headers["access-control-expose-headers"]
        other = client.post(PREDICT, headers=headers | {"origin": EVIL})
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("text", ["*", "null", "app.example", f"{GOOD}/", f"{GOOD}/path", "ftp://x", "https://*.a.b"])
def test_what_is_no_origin_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(UsageError, match="not an origin"):
        origins_of(f"{GOOD},{text}")


def test_a_page_that_has_a_policy_of_its_own_gets_no_second_one() -> None:
    own = (b"content-security-policy", b"default-src 'none'; script-src 'sha256-abc'")
    for kind in (b"text/html; charset=utf-8", b"image/svg+xml"):
        headers = secured(200, [(b"content-type", kind), own], {"scheme": "http", "path": "/v1/x/plans/1/gantt"})
        assert [header for header in headers if header[0] == own[0]] == [own]
        assert (b"x-content-type-options", b"nosniff") in headers
    part = (b"content-security-policy", b"script-src 'nonce-abc'")
    both = secured(200, [(b"content-type", b"text/html"), part], {"scheme": "http", "path": "/console/"})
    assert len([header for header in both if header[0] == part[0]]) == 2
    page = secured(200, [(b"content-type", b"text/html"), own], {"scheme": "http", "path": "/"})
    assert (b"x-frame-options", b"DENY") in page
