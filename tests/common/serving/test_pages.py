from __future__ import annotations

import re
from pathlib import Path

from fastapi.testclient import TestClient
from test_slot import make_bundle

from common.serving.app import create_app


def test_the_page_of_the_api_loads_everything_from_here(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    asked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(asked) == 4
    for address in asked:
        if address == "data:,":
            continue
        assert not re.match(r"[a-z]+:|//", address)
        found = client.get(f"/{address}")
        assert found.status_code == 200
        assert len(found.content) > 100
        assert (
            found.headers["content-type"].split(";")[0]
            == {"js": "text/javascript", "css": "text/css"}[address.split(".")[-1]]
        )
    assert "openapi.json" in client.get("/docs/start.js").text
    assert "<script>" not in page.text  # which the content security policy would stop


def test_no_other_file_is_given_away(client: TestClient) -> None:
    for name in ("..%2fcore.py", "favicon.png", "%00", "redoc.standalone.js"):
        assert client.get(f"/docs/{name}").status_code == 404
    assert client.get("/redoc").status_code == 404


def test_a_model_is_shown_with_its_card(registered: None, tmp_path: Path) -> None:
    with TestClient(create_app("toy", {"toy.adder": make_bundle(tmp_path / "one", 5)})) as client:
        [short, untrained] = client.get("/v1/models").json()
        for name in ("adder", "toy.adder"):
            found = client.get(f"/v1/models/{name}").json()
            assert short.items() <= found.items()
            assert found["card"].startswith("# toy.adder")
            assert "cards" in found["data"] or found["data"] == {"simulated": False}
            assert str(tmp_path) not in str(found)
        assert client.get("/v1/models/other").json() == untrained | {
            "acceptance": [],
            "metrics": {},
            "data": {},
            "card": "",
        }
        missing = client.get("/v1/models/nobody")
        assert missing.status_code == 404
        assert missing.headers["content-type"] == "application/problem+json"
