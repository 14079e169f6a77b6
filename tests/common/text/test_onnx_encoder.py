from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch", exc_type=ImportError)
pytest.importorskip("transformers", exc_type=ImportError)
pytest.importorskip("onnxruntime")

from common.text.encoder import load_encoder
from common.text.export import export_onnx
from common.text.onnx_encoder import OnnxEncoder
from common.text.tokens import Tokens

TEXTS = ["where is my card", "i want to pay the new card of my money", "lost", "", "我 card"]


@pytest.fixture(scope="module", params=[False, True], ids=["last layer", "all layers"])
def pair(request, tiny):
    """The encoder, the same as a graph, and whether all layers are asked for."""
    encoder = load_encoder(str(tiny))
    graph = export_onnx(encoder, layers=request.param)
    return encoder, OnnxEncoder(graph, Tokens(tiny / "tokenizer.json")), request.param


def test_the_graph_gives_what_the_encoder_gives(pair):
    encoder, served, layers = pair
    assert served.vectors(TEXTS) == pytest.approx(encoder.vectors(TEXTS, layers=layers), abs=1e-5)


def test_many_texts_together_equal_each_alone(pair, monkeypatch):
    _, served, _ = pair
    together = served.vectors(TEXTS)
    monkeypatch.setattr("common.text.onnx_encoder.BATCH", 2)
    assert served.vectors(TEXTS) == pytest.approx(together, abs=1e-5)
    assert np.concatenate([served.vectors([text]) for text in TEXTS]) == pytest.approx(together, abs=1e-5)


def test_no_texts_give_no_vectors(pair):
    encoder, served, layers = pair
    assert served.vectors([]).shape == encoder.vectors([], layers=layers).shape


def test_serving_imports_neither_torch_nor_transformers():
    code = "import sys, common.text.onnx_encoder, common.text.ngrams, common.text.tokens\n"
    code += "print([name for name in ('torch', 'transformers', 'sklearn', 'pandas') if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
