"""The app below `/console`, without a browser."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from workshop import SYSTEMS, Pricer, predictors, price_bundle

from common.config import settings
from common.console.mount import Console
from common.serving.app import create_app
from common.serving.security.keyfile import create_key

pytest.importorskip("gradio")


def make(folder: Path, **bundle: Any) -> TestClient:
    bundles = {"workshop.prices": price_bundle(folder / "one", 2.0, **bundle)}
    return TestClient(create_app("workshop", bundles, systems=SYSTEMS, predictors=predictors()))


@pytest.fixture
def client(home: Path) -> Iterator[TestClient]:
    with make(home) as client:
        yield client


def config_of(page: str) -> dict[str, Any]:
    found = re.search(r"window\.gradio_config = (\{.*?\});</script>", page)
    assert found
    return json.loads(found[1])


def fields(page: str) -> list[str]:
    return [one["props"].get("label") for one in config_of(page)["components"] if one["props"].get("label")]


def ask_prices(client: TestClient, page: Any, data: list[Any], headers: dict[str, str] | None = None) -> Any:
    """Click on the button of the system `prices`: the one whose form has the most fields."""
    config, base = config_of(page.text), page.url.path
    event = max(config["dependencies"], key=lambda one: len(one["inputs"]))
    body = {"data": data, "fn_index": event["id"], "session_hash": "abc"}
    joined = client.post(f"{base}gradio_api/queue/join", json=body, headers=headers)
    if not joined.is_success:
        return joined
    stream = client.get(f"{base}gradio_api/queue/data?session_hash=abc", headers=headers)
    messages = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: ")]
    [done] = [message for message in messages if message["msg"] == "process_completed"]
    assert done["success"], done
    return done["output"]["data"]


def decision_in(html: str) -> str:
    found = re.search(r"x-decision-id</th><td><code>(\w+)", html)
    assert found
    return found[1]


def test_a_service_that_nobody_looks_at_does_not_import_gradio(home: Path) -> None:
    code = """
import sys, workshop
from fastapi.testclient import TestClient
from common.serving.app import create_app
app = create_app("workshop", systems=workshop.SYSTEMS, predictors=workshop.predictors())
with TestClient(app) as client:
    assert "console" in client.get("/").text
    assert client.get("/console", follow_redirects=False).status_code == 303
    assert client.get("/console/", follow_redirects=False).headers["location"].startswith("en/")
    print(*(name for name in ("gradio", "pandas", "PIL.ImageShow") if name in sys.modules))
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == ""


def test_the_setting_decides_and_without_one_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, _ = create_key(home / "keys.json", ("admin",))
    monkeypatch.setenv("ESPALIER_KEYS_FILE", str(home / "keys.json"))
    for environment, setting, there in (
        ("development", "", True),
        ("development", "false", False),
        ("production", "", False),
        ("production", "true", True),
    ):
        monkeypatch.setenv("ESPALIER_ENVIRONMENT", environment)
        monkeypatch.delenv("ESPALIER_CONSOLE", raising=False)
        if setting:
            monkeypatch.setenv("ESPALIER_CONSOLE", setting)
        settings.cache_clear()
        with TestClient(create_app("workshop", systems=[]), headers={"x-api-key": key}) as client:
            assert client.get("/console", follow_redirects=False).status_code == (303 if there else 404)
            assert ('href="console"' in client.get("/").text) == there


def test_without_the_extra_one_sentence_says_what_to_install(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Console, "ready", False)
    refused = client.get("/console")
    assert refused.status_code == 503
    assert "pip install 'espalier[console]'" in refused.json()["detail"]
    assert 'href="console"' not in client.get("/").text


def test_the_page_is_in_the_language_of_the_browser_or_the_switch(client: TestClient) -> None:
    english = client.get("/console")
    chinese = client.get("/console", headers={"accept-language": "zh-CN,zh;q=0.9"})
    assert (english.url.path[:12], chinese.url.path[:12]) == ("/console/en/", "/console/zh/")
    assert 'lang="en"' in english.text
    assert 'lang="zh"' in chinese.text
    assert "颜色" in fields(chinese.text)
    assert "colour" in fields(english.text)
    assert client.get("/console?lang=zh").url == chinese.url


def test_the_page_names_nothing_elsewhere_and_runs_no_inline_script_but_gradios(client: TestClient) -> None:
    page = client.get("/console")
    head = page.text[: page.text.index("window.gradio_config")] + page.text[page.text.index("data-gradio-mode") :]
    assert [url for url in re.findall(r"https?://[^\"' ]*", head) if not url.startswith("http://testserver/")] == []
    [scripts, general] = page.headers.get_list("content-security-policy")
    nonce = re.search(r"'nonce-([\w-]+)'", scripts)
    assert nonce
    assert "unsafe-inline" not in scripts
    assert "frame-ancestors 'none'" in general
    assert page.text.count("<script") == page.text.count(f'<script nonce="{nonce[1]}"') > 2
    assert nonce[1] not in client.get("/console").text


def test_an_answer_is_that_of_the_public_route(client: TestClient) -> None:
    page = client.get("/console")
    data = ["green", "", 3.0, "2.5", "", False, "", "[]"]
    html, decision, *_ = ask_prices(client, page, data)
    assert ">15<" in html
    assert client.get(f"/v1/decisions/{decision_in(html)}").json()["output"]["price"] == 15.0
    assert decision is None  # state stays on the server


def test_bad_input_gives_the_sentence_with_the_field(client: TestClient) -> None:
    html = ask_prices(client, client.get("/console"), ["blue", "", 2, "heavy", "", False, "", "{"])[0]
    assert "Not answered" in html
    assert "colour" in html
    assert "a number" in html
    assert "&quot;heavy&quot;" in html


def test_only_the_caller_s_own_credential_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may open the console but not ask one system is refused by the service, in words."""
    keys = {scope: create_key(home / "keys.json", (scope,))[0] for scope in ("predict:*", "predict:prices", "metrics")}
    monkeypatch.setenv("ESPALIER_KEYS_FILE", str(home / "keys.json"))
    settings.cache_clear()
    with make(home) as client:
        assert client.get("/console").status_code == 401
        for scope in ("predict:prices", "metrics"):
            refused = client.get("/console", headers={"x-api-key": keys[scope]})
            assert refused.status_code == 403
            assert refused.json()["type"] == "urn:espalier:problem:forbidden"
        headers = {"x-api-key": keys["predict:*"]}
        page = client.get("/console", headers=headers)
        assert page.status_code == 200
        data = ["green", "", 3, "2.5", "", False, "", "[]"]
        assert ask_prices(client, page, data).status_code == 401
        assert ask_prices(client, page, data, {"x-api-key": keys["metrics"]}).status_code == 403
        html = ask_prices(client, page, data, headers)[0]
        caller = keys["predict:*"].split("_")[1]
        admin = create_key(home / "keys.json", ("admin",))[0]
        client.app.gate.authenticate.keys._next_look = 0
        found = client.get(f"/v1/decisions/{decision_in(html)}", headers={"x-api-key": admin})
        assert caller in str(found.json()) or found.status_code == 401


def test_a_swap_gives_a_new_form_and_the_old_page_goes_on(client: TestClient, home: Path) -> None:
    old = client.get("/console")
    assert "Weight <b>in</b> kg" in fields(old.text)
    price_bundle(settings().home / "bundles" / "workshop.prices" / "next", 7.0, 50.0)
    swapped = client.post("/v1/deployments/prices/swap", json={"bundle": "next"})
    assert swapped.status_code == 200, swapped.text
    new = client.get("/console")
    assert new.url != old.url
    assert "Weight up to 50 kg" in fields(new.text)
    html = ask_prices(client, old, ["green", "", 1, "100", "", False, "", "[]"])[0]
    assert "50" in html
    assert "Not answered" in html
    html = ask_prices(client, old, ["green", "", 1, "2", "", False, "", "[]"])[0]
    assert "Another model answered" in html
    assert client.get(old.url.path).url == new.url


def test_what_is_not_trained_says_what_to_do(client: TestClient) -> None:
    assert "run `espalier train workshop.absent` and restart" in client.get("/console").text


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/info",
        "gradio_api/openapi.json",
        "gradio_api/proxy=http://127.0.0.1/",
        "gradio_api/file=/etc/passwd",
        "gradio_api/file=http://127.0.0.1/",
        "gradio_api/file=../../../../etc/passwd",
        "gradio_api/file=//etc/passwd",
        "gradio_api/call/predict/1",
        "gradio_api/runs",
        "gradio_api/deep_link",
        "gradio_api/vibe-code/",
        "monitoring",
        "login",
        "manifest.json",
        "nothing",
    ],
)
def test_gradio_s_other_routes_are_closed(client: TestClient, path: str) -> None:
    page = client.get("/console").url.path
    refused = client.get(f"{page}{path}")
    assert refused.status_code == 404
    assert refused.headers["content-type"] == "application/problem+json"


def test_uploads_are_bounded_private_and_gone_at_the_end(home: Path) -> None:
    with make(home) as client:
        page = client.get("/console").url.path
        [path] = client.post(f"{page}gradio_api/upload", files={"files": ("part.png", b"content")}).json()
        assert client.get(f"{page}gradio_api/file={path}").content == b"content"
        assert Path(path).parents[1].stat().st_mode & 0o077 == 0
        for size in (1_800_000, 9_000_000):
            refused = client.post(f"{page}gradio_api/upload", files={"files": ("part.png", b"x" * size)})
            assert refused.status_code == 413
    assert not Path(path).parents[1].exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "http://127.0.0.1:1/x.png", "relative.png", None, 7])
def test_a_click_can_name_uploads_only(client: TestClient, path: Any) -> None:
    page = client.get("/console")
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    body = {"data": [[file]], "fn_index": 0, "session_hash": "abc"}
    refused = client.post(f"{page.url.path}gradio_api/queue/join", json=body)
    assert refused.status_code == 403
    broken = client.post(f"{page.url.path}gradio_api/queue/join", content=b"[" * 100_000)
    assert broken.status_code == 400


def test_no_request_makes_the_service_fail(client: TestClient) -> None:
    page = client.get("/console").url.path
    for method, path in (
        ("POST", page),
        ("PUT", "/console/en"),
        ("GET", f"{page}gradio_api/queue/data"),
        ("POST", f"{page}gradio_api/upload"),
        ("POST", f"{page}gradio_api/cancel"),
        ("GET", "/console/%00/%ff"),
        ("GET", f"{page}assets/..%2f..%2fpackage.json"),
        ("GET", f"{page}gradio_api/file=%00"),
    ):
        assert 400 <= client.request(method, path).status_code < 500, path


def test_a_predictor_alone_needs_no_bundle(home: Path) -> None:
    [prices] = [one for one in SYSTEMS if one.name == "workshop.prices"]
    app = create_app("workshop", systems=[prices], predictors={"workshop.prices": Pricer()})
    with TestClient(app) as client:
        assert "Weight <b>in</b> kg" in fields(client.get("/console").text)


def test_an_open_page_does_not_hold_up_the_end(client: TestClient) -> None:
    """Its heartbeat never ends by itself, and a stopping service waits for what is in flight."""
    page = client.get("/console").url.path
    with ThreadPoolExecutor() as pool:
        beating = pool.submit(client.get, f"{page}gradio_api/heartbeat/abc")
        with pytest.raises(TimeoutError):
            beating.result(timeout=0.5)
        client.portal.call(client.app.console.stop)
        assert "ALIVE" in beating.result(timeout=5).text
