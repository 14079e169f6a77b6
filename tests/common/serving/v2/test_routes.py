"""The routes of the protocol, as the specification writes them, on the toy system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from toy_system import SYSTEM, make_bundle

from common.serving.app import create_app
from common.serving.limits import Limits

INFER = "/v2/models/adder/infer"


@pytest.fixture
def client(registered: None, tmp_path: Path) -> Iterator[TestClient]:
    bundle = make_bundle(tmp_path / "bundle", 1)
    with TestClient(create_app("toy", {"toy.adder": bundle}, systems=[SYSTEM], limits=Limits(batch_rows=50))) as client:
        yield client


def ages(*values: Any, **changes: Any) -> dict[str, Any]:
    tensor = {"name": "age", "datatype": "INT64", "shape": [len(values)], "data": list(values)}
    return {"inputs": [tensor | changes]}


def test_server_and_model_metadata(client: TestClient) -> None:
    assert set(client.get("/v2").json()) == {"name", "version", "extensions"}
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    model = client.get("/v2/models/adder").json()
    [version] = model["versions"]
    assert client.get(f"/v2/models/adder/versions/{version}").json() == model
    assert client.get(f"/v2/models/toy.adder/versions/{version}/ready").json()["ready"] is True
    kinds = {tensor["name"]: tensor["datatype"] for tensor in model["inputs"]}
    assert kinds == {"age": "INT64", "amount": "FP64", "kind": "BYTES", "note": "BYTES", "extras": "BYTES"}
    assert model["outputs"] == [
        {"name": "total", "datatype": "FP64", "shape": [-1]},
        {"name": "version", "datatype": "INT64", "shape": [-1]},
    ]


def test_answers_are_those_of_the_typed_route(client: TestClient) -> None:
    rows = [{"age": 20 + i, "amount": i / 3, "kind": "fancy", "note": None} for i in range(40)]
    typed = client.post("/v1/adder/predict/batch", json={"rows": rows}).json()["rows"]
    asked = {
        "id": "call 7",
        "inputs": [
            {"name": "age", "datatype": "INT32", "shape": [40, 1], "data": [[row["age"]] for row in rows]},
            {"name": "amount", "datatype": "FP64", "shape": [40], "data": [row["amount"] for row in rows]},
            {"name": "kind", "datatype": "BYTES", "shape": [40], "data": ["fancy"] * 40},
            {"name": "note", "datatype": "BYTES", "shape": [40], "data": [None] * 40},
        ],
        "outputs": [{"name": "total"}],
    }
    response = client.post(INFER, json=asked)
    found = response.json()
    assert (found["id"], found["model_name"]) == ("call 7", "adder")
    assert response.headers["x-model-version"] == found["model_version"]
    assert found["outputs"] == [
        {"name": "total", "datatype": "FP64", "shape": [40], "data": [row["total"] for row in typed]}
    ]


def test_binary_tensors_go_in_and_out(client: TestClient) -> None:
    raw = np.array([20, 30, 40], "<i8").tobytes()
    head = (
        b'{"parameters":{"binary_data_output":true},"outputs":[{"name":"total"}],"inputs":[{"name":"age",'
        b'"datatype":"INT64","shape":[3],"parameters":{"binary_data_size":24}}]}'
    )
    headers = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
    response = client.post(INFER, content=head + raw, headers=headers)
    json_bytes = int(response.headers["inference-header-content-length"])
    assert np.frombuffer(response.content[json_bytes:], "<f8").tolist() == [21.0, 31.0, 41.0]
    short = client.post(INFER, content=head + raw[:-1], headers=headers)
    assert short.status_code == 422
    assert "error" in short.json()


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (ages(200), 422, "age"),
        (ages("old"), 422, "age"),
        (ages(20.5, datatype="FP64"), 422, "whole number"),
        (ages(None), 422, "missing"),
        (ages(20, datatype="INT128"), 422, "datatype"),
        (ages(20, shape=[2]), 422, "age"),
        (ages(20, shape=[-1]), 422, "shape"),
        (ages(20, shape=[10**30]), 413, "50"),
        (ages(20, shape=[]), 422, "shape"),
        (ages(20, shape=[1, 1, 1]), 422, "shape"),
        (ages(20, shape=["1"]), 422, "shape"),
        (ages(20, name="agee"), 422, "did you mean 'age'"),
        (ages(*range(20, 71)), 413, "50"),
        (ages(20) | {"outputs": [{"name": "sum"}]}, 422, "total"),
        ({"inputs": []}, 422, "inputs"),
        ({"inputs": ages(20)["inputs"] * 2}, 422, "age"),
        ({}, 422, "inputs"),
        ([], 422, ""),
        ("text", 422, ""),
    ],
)
def test_bad_input_is_one_sentence_that_the_clients_can_read(
    client: TestClient, body: Any, status: int, said: str
) -> None:
    response = client.post(INFER, json=body)
    problem = response.json()
    assert response.status_code == status, problem
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["error"] == problem["detail"]
    assert said in problem["error"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b'{"inputs":[{"name":"age","datatype":"FP64","shape":[1],"data":[1e400]}]}', 422),
        (b'{"inputs":[{"name":"age","datatype":"FP64","shape":[1],"data":[NaN]}]}', 422),
        (b'{"inputs":[{"name":"age","datatype":"INT64","shape":[1],"parameters":{"binary_data_size":8}}]}', 422),
    ],
)
def test_bodies_that_are_no_request(client: TestClient, content: bytes, status: int) -> None:
    response = client.post(INFER, content=content, headers={"content-type": "application/json"})
    assert response.status_code == status, response.text
    assert "error" in response.json()


@pytest.mark.parametrize("length", ["-1", "abc", "9" * 30, "5000", "1"])
def test_a_wrong_header_length(client: TestClient, length: str) -> None:
    response = client.post(INFER, json=ages(20), headers={"inference-header-content-length": length})
    assert response.status_code == 400, response.text


def test_unknown_models_versions_and_media_types(client: TestClient) -> None:
    for path in ("/v2/models/none", "/v2/models/adder/versions/1", "/v2/models/none/ready"):
        response = client.get(path)
        assert (response.status_code, "error" in response.json()) == (404, True)
    assert client.post("/v2/models/adder/versions/1/infer", json=ages(20)).status_code == 404
    assert client.post(INFER, content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    assert client.post(INFER, json=ages(20), headers={"content-encoding": "gzip"}).status_code == 415


def test_examples_in_openapi_work_as_they_stand(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"):
        operation = paths[path]["post"]
        known = {parameter["name"]: parameter["example"] for parameter in operation["parameters"]}
        body = operation["requestBody"]["content"]["application/json"]["example"]
        answer = client.post(path.format(**known), json=body)
        assert answer.json() == operation["responses"]["200"]["content"]["application/json"]["example"]


def test_without_a_model_it_is_not_ready(registered: None) -> None:
    with TestClient(create_app("toy", systems=[SYSTEM], predictors={})) as client:
        assert client.get("/v2/health/ready").status_code == 503
        assert client.get("/v2/models/adder/ready").status_code == 503
        assert client.post(INFER, json=ages(20)).status_code == 503
