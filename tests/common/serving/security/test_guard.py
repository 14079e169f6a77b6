"""Through the whole stack: who gets in, and what the others are told."""

from __future__ import annotations

import base64
import logging
import re

import pytest
from guarded import PREDICT, Service
from starlette.testclient import WebSocketDenialResponse

from common.serving.security.keyfile import create_key, revoke_key


def test_everything_is_open_in_development_without_keys(service: Service) -> None:
    with service.client() as client:
        assert client.post(PREDICT).json() == {"caller": "anonymous"}
        assert client.get("/v1/nobody-thought-of-a-rule").is_success


def test_a_key_opens_its_routes_in_either_header(service: Service) -> None:
    headers = service.key("predict:adder")
    key = headers["authorization"].split()[1]
    with service.client() as client:
        caller = {"caller": f"key:{key.split('_')[1]}"}
        assert client.post(PREDICT, headers=headers).json() == caller
        assert client.post(PREDICT, headers={"x-api-key": key}).json() == caller
        assert client.post(PREDICT, headers={"authorization": f"bearer  {key}"}).json() == caller


def test_health_and_metrics_need_no_key_everything_else_does(service: Service) -> None:
    service.key("admin")
    with service.client() as client:
        for path in ("/health/live", "/metrics"):
            assert client.get(path).json() == {"caller": "anonymous"}
        for path in ("/", "/docs", "/openapi.json", "/v1/models", "/v1/monitor", "/no/such", "/console", "//", "/.env"):
            response = client.get(path)
            assert response.status_code == 401, path
            assert response.headers["content-type"] == "application/problem+json"
            assert response.headers["www-authenticate"] == 'Bearer realm="espalier"'
            assert response.json()["instance"].endswith(response.headers["x-request-id"])
        assert client.post("/health/live").status_code == 401
        assert client.options(PREDICT).status_code == 401


def test_metrics_can_be_closed(service: Service) -> None:
    headers, service.settings.metrics_open = service.key("metrics"), False
    with service.client() as client:
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers=headers).is_success
        assert client.get("/health/live").is_success


PREDICTS = {PREDICT, "/v2/models/toy.adder/infer", "/v1/adder/steps/3", "/v1/adder/rules", "/v1/models"}


@pytest.mark.parametrize(
    ("scope", "opened"),
    [
        ("predict:adder", PREDICTS),
        ("predict:toy.adder", PREDICTS),
        ("predict:*", PREDICTS | {"/v1/other/predict"}),
        ("cases:adder", {"/v1/adder/cases", "/v1/models"}),
        ("cases:toy.adder", {"/v1/adder/cases", "/v1/models"}),
        ("cases:other", {"/v1/models"}),
        ("rules:*", {"/v1/adder/rules", "/v1/models"}),
        ("feedback", {"/v1/feedback", "/v1/adder/labels", "/v1/models"}),
        ("metrics", {"/v1/monitor", "/v1/models"}),
    ],
)
def test_a_scope_opens_its_routes_and_no_other(service: Service, scope: str, opened: set[str]) -> None:
    routes = {
        "POST": [PREDICT, "/v1/other/predict", "/v2/models/toy.adder/infer", "/v1/feedback", "/v1/adder/labels"],
        "GET": [
            *("/v1/adder/steps/3", "/v1/adder/cases", "/v1/adder/rules", "/v1/adder/swap"),
            *("/v1/models", "/v1/monitor", "/v1/nobody-thought-of-a-rule"),
        ],
    }
    headers = service.key(scope)
    with service.client() as client:
        for method, paths in routes.items():
            for path in paths:
                response = client.request(method, path, headers=headers)
                assert response.status_code == (200 if path in opened else 403), path


def test_admin_opens_all_and_learns_what_does_not_exist(service: Service) -> None:
    headers = service.key("admin")
    with service.client() as client:
        assert client.post(PREDICT, headers=headers).is_success
        assert client.get("/v1/nobody-thought-of-a-rule", headers=headers).is_success
        assert client.get("/no/such", headers=headers).status_code == 404


def test_403_names_the_scope(service: Service) -> None:
    headers = service.key("feedback")
    with service.client() as client:
        response = client.post(PREDICT, headers=headers)
        assert response.json()["type"] == "urn:espalier:problem:forbidden"
        assert "the scope predict:adder" in response.json()["detail"]
        assert response.headers["www-authenticate"].endswith('error="insufficient_scope", scope="predict:adder"')
        several = client.get("/v1/adder/rules", headers=headers)
        assert "the scope rules:adder or predict:adder" in several.json()["detail"]


def test_openapi_names_the_scopes_of_which_one_is_enough(service: Service) -> None:
    headers = service.key("admin")
    with service.client() as client:
        paths = client.get("/openapi.json", headers=headers).json()["paths"]
    scheme = ("bearer", "key")
    assert paths["/health/live"]["get"]["security"] == []
    assert "security" not in paths["/v1/models"]["get"]  # any credential, as the document says at its top
    assert paths["/v1/adder/cases"]["get"]["security"] == [{name: ["cases:adder"]} for name in scheme]
    assert paths["/v1/adder/labels"]["post"]["security"] == [{name: ["feedback"]} for name in scheme]
    either = [{name: [scope]} for scope in ("rules:adder", "predict:adder") for name in scheme]
    assert paths["/v1/adder/rules"]["get"]["security"] == either
    assert paths["/v1/nobody-thought-of-a-rule"]["get"]["security"] == [{name: ["admin"]} for name in scheme]


def test_all_refused_keys_get_the_same_answer(service: Service) -> None:
    """Byte for byte, but for the request id: a wrong secret of a known id is no different from an unknown one."""
    good = service.key("admin")["authorization"].split()[1]
    revoked, record = create_key(service.keys_file, ("admin",))
    revoke_key(service.keys_file, record.id)
    known_id = good[:17] + "A" * 43
    unknown = "esp_000000000000_" + "A" * 43
    answers = set()
    with service.client() as client:
        for text in (revoked, known_id, unknown, "esp_x", "a.b.c", "x" * 9000, "ключ", ""):
            response = client.post(PREDICT, headers={"x-api-key": text.encode(), "x-request-id": "same"})
            assert response.status_code == 401
            answers.add((response.text, tuple(response.headers.items())))
            assert "AAAA" not in response.text
    assert len(answers) == 1


def test_two_credentials_are_none(service: Service) -> None:
    headers = service.key("admin")
    key = headers["authorization"].split()[1]
    with service.client() as client:
        response = client.post(PREDICT, headers=headers | {"x-api-key": key})
        assert response.status_code == 401
        assert "more than one credential" in response.json()["detail"]


def test_a_browser_asks_for_a_key_and_sends_it_by_basic(service: Service) -> None:
    key = service.key("predict:*")["authorization"].split()[1]
    basic = "Basic " + base64.b64encode(f"me:{key}".encode()).decode()
    with service.client() as client:
        asked = client.get("/", headers={"accept": "text/html,*/*"})
        assert asked.headers["www-authenticate"].startswith("Basic realm=")
        assert client.get("/", headers={"authorization": basic}).text == "<p>page</p>"
        for wrong in ("Basic !!", "Basic " + base64.b64encode(b"nocolon").decode(), "Digest x", "Basic"):
            assert client.get("/", headers={"authorization": wrong}).status_code == 401


def test_what_a_browser_adds_by_itself_works_from_its_own_pages_only(service: Service) -> None:
    key = service.key("predict:*")["authorization"].split()[1]
    headers = {"authorization": "Basic " + base64.b64encode(f":{key}".encode()).decode()}
    with service.client() as client:
        assert client.post(PREDICT, headers=headers | {"origin": "http://testserver"}).is_success
        for origin in ("https://evil.example", "null", "http://testserver.evil.example", "http://[broken"):
            assert client.post(PREDICT, headers=headers | {"origin": origin}).status_code == 403
        bearer = {"authorization": f"Bearer {key}", "origin": "https://evil.example"}
        assert client.post(PREDICT, headers=bearer).is_success  # no browser adds this by itself


def test_websockets_are_guarded(service: Service) -> None:
    headers = service.key("predict:adder")
    with service.client() as client:
        with client.websocket_connect("/v1/adder/stream", headers=headers) as socket:
            assert socket.receive_json()["caller"].startswith("key:")
        for path, sent, status in (
            ("/v1/adder/stream", {}, 401),
            ("/v1/adder/other", headers, 403),
            ("/v1/adder/stream", headers | {"origin": "https://evil.example"}, 403),
        ):
            with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect(path, headers=sent):
                pass
            assert denied.value.status_code == status


def test_each_message_of_a_websocket_can_be_charged(service: Service) -> None:
    headers = service.key("predict:adder", rate=0.1, burst=3)
    with service.client() as client, client.websocket_connect("/v1/adder/talk", headers=headers) as socket:
        answers = []
        for _ in range(4):
            socket.send_text("more")
            answers.append(socket.receive_json())
    assert answers == [200, 200, 429, 429]


def test_429_says_when_to_come_back_and_others_are_not_held_up(service: Service) -> None:
    first, second = service.key("admin", rate=0.1, burst=3), service.key("admin")
    with service.client() as client:
        assert [client.post(PREDICT, headers=first).status_code for _ in range(5)] == [200, 200, 200, 429, 429]
        refused = client.post(PREDICT, headers=first)
        assert 1 <= int(refused.headers["retry-after"]) <= 10
        assert refused.json()["title"] == "Too many requests"
        assert client.post(PREDICT, headers=second).is_success


def test_too_many_or_too_long_headers_are_431(service: Service) -> None:
    with service.client() as client:
        for headers, query in (
            ({f"x-{i}": "1" for i in range(120)}, ""),
            ({"x-long": "a" * 17_000}, ""),
            ({}, "?" + "a" * 17_000),
        ):
            response = client.get(f"/health/live{query}", headers=headers)
            assert response.status_code == 431
            assert response.headers["connection"] == "close"
            assert "aaaa" not in response.text


def test_refusals_are_counted_and_logged_without_the_secret(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    headers = service.key("feedback")
    key = headers["authorization"].split()[1]
    wrong = key[:-3] + "AAA"
    with service.client() as client, caplog.at_level(logging.INFO):
        client.post(PREDICT, headers=headers)
        client.post(PREDICT, headers={"x-api-key": wrong})
        rejected = client.app.state.rejected  # type: ignore[attr-defined]
    samples = [sample for metric in rejected.collect() for sample in metric.samples]
    counts = {sample.labels["reason"]: sample.value for sample in samples if sample.name.endswith("_total")}
    assert (counts["forbidden"], counts["unauthenticated"]) == (1, 1)
    [forbidden, unknown] = [vars(record)["fields"] for record in caplog.records if record.name == "espalier.security"]
    assert (forbidden["status"], forbidden["caller"]) == (403, f"key:{key.split('_')[1]}")
    assert (unknown["status"], unknown["caller"]) == (401, "anonymous")
    everything = "".join(str(record.__dict__) for record in caplog.records if record.name.startswith("espalier"))
    assert key.split("_", 2)[2] not in everything
    assert wrong.split("_", 2)[2] not in everything


def test_an_unforeseen_error_tells_nothing(service: Service) -> None:
    with service.client() as client:
        response = client.get("/v1/monitor/broken")
        assert response.status_code == 500
        assert not re.search(r"secret|Traceback|\.py", response.text)
        assert response.headers["x-content-type-options"] == "nosniff"
