"""Triton's own client against a real process that serves a trained bundle."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from finance.credit_scoring.serve import CreditPredictor
from finance.credit_scoring.train import record_of

ROWS = 400  # more than a table's 256, so that both ways are walked


@pytest.fixture(scope="module")
def client(bundle) -> Iterator[triton.InferenceServerClient]:
    command = [sys.executable, "-m", "common", "serve", "finance", "--bundle", str(bundle.path), "--port", "0"]
    process = subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout
    greeting = process.stdout.readline()
    address = re.search(r"127\.0\.0\.1:\d+", greeting)
    assert address, greeting
    with triton.InferenceServerClient(address[0], network_timeout=30.0) as client:
        yield client
    process.terminate()
    process.communicate(timeout=30)


@pytest.fixture(scope="module")
def served(bundle) -> CreditPredictor:
    return CreditPredictor.load(bundle)


@pytest.fixture(scope="module")
def records(bundle, applicants):
    fields = CreditPredictor.load(bundle).fields
    return [record_of(applicants, i, fields) for i in range(ROWS)]


def tensors(client, records, binary):
    found = []
    for tensor in client.get_model_metadata("credit_scoring")["inputs"]:
        name, datatype = tensor["name"], tensor["datatype"]
        values = [record[name] for record in records]
        if datatype == "BYTES":
            data = np.array(["" if value is None else value for value in values], dtype=object)
        else:
            data = np.array([np.nan if value is None else value for value in values])
            data = data.astype(triton.triton_to_np_dtype(datatype) if np.isfinite(data).all() else np.float64)
            datatype = triton.np_to_triton_dtype(data.dtype)
        found.append(triton.InferInput(name, [len(values)], datatype))
        found[-1].set_data_from_numpy(data, binary_data=binary)
    return found


def test_server_and_model(client, bundle):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("credit_scoring")
    assert client.is_model_ready("credit_scoring", bundle.manifest.version)
    assert not client.is_model_ready("credit_scoring", "1")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("rows", [1, 5, ROWS])
def test_the_same_bits_as_the_predictor(client, records, served, rows, binary):
    asked = records[:rows]
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("score", "decision")]
    answer = client.infer("credit_scoring", tensors(client, asked, binary), outputs=outputs, request_id="7")
    expected = served.predict([served.request.model_validate(record) for record in asked])
    assert answer.get_response()["id"] == "7"
    assert answer.as_numpy("score").tolist() == [response.score for response in expected]
    decisions = [text.decode() if isinstance(text, bytes) else text for text in answer.as_numpy("decision")]
    assert decisions == [response.decision for response in expected]


def test_all_outputs_by_default_with_reasons_as_json(client, records):
    answer = client.infer("credit_scoring", tensors(client, records[:2], True))
    assert answer.as_numpy("reasons")[0].startswith(b"[{")


def test_an_error_reaches_the_client_as_a_sentence(client, records):
    wrong = triton.InferInput("nonsense", [1], "FP64")
    wrong.set_data_from_numpy(np.zeros(1))
    with pytest.raises(InferenceServerException, match="nonsense"):
        client.infer("credit_scoring", [*tensors(client, records[:1], True), wrong])
    with pytest.raises(InferenceServerException, match="one of credit_scoring"):
        client.infer("debit_scoring", tensors(client, records[:1], True))
