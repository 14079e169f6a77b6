from __future__ import annotations

import shutil

import numpy as np
import pytest

pytest.importorskip("torch", exc_type=ImportError)
pytest.importorskip("transformers", exc_type=ImportError)

import torch

from common.errors import ModelUnavailable
from common.text.encoder import Encoder, load_encoder

TEXTS = ["where is my card", "i want to pay the new card of my money", "lost", "balance transfer", ""]


@pytest.fixture(scope="module")
def encoder(tiny) -> Encoder:
    return load_encoder(str(tiny))


def test_vectors_have_length_one_in_the_order_of_the_texts(encoder):
    found = encoder.vectors(TEXTS)
    assert found.shape == (5, 32)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    for text, vector in zip(TEXTS, found, strict=True):
        assert encoder.vectors([text])[0] == pytest.approx(vector, abs=1e-5)


def test_chunks_and_padding_change_nothing(encoder, monkeypatch):
    ids = torch.from_numpy(encoder.tokens(TEXTS))
    wide = torch.cat([ids, torch.full((len(ids), 3), encoder.tokens.pad)], dim=1)
    expected = encoder.vectors(TEXTS)
    monkeypatch.setattr("common.text.encoder.CHUNK", 2)
    with torch.no_grad():
        assert encoder(wide).numpy() == pytest.approx(expected, abs=1e-5)


def test_the_last_layer_is_the_vector_and_the_first_is_another(encoder):
    layers = encoder.vectors(["my card", "card my"], layers=True)
    assert layers.shape == (2, 3, 32)
    assert layers[:, -1] == pytest.approx(encoder.vectors(["my card", "card my"]), abs=1e-5)
    assert np.abs(layers[:, 0] - layers[:, -1]).max() > 1e-3


def test_only_the_first_layers_are_kept(tiny, encoder):
    whole = encoder.vectors(["my card"], layers=True)
    assert load_encoder(str(tiny), layers=1).vectors(["my card"], layers=True) == pytest.approx(whole[:, :2], abs=1e-5)
    assert load_encoder(str(tiny), layers=0).vectors(["my card"], layers=True) == pytest.approx(whole[:, :1], abs=1e-5)


def test_the_mean_leaves_out_the_padding_and_the_first_token_can_be_the_vector(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "first")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    first, mean = load_encoder(str(folder)), load_encoder(str(tiny))
    ids = torch.from_numpy(mean.tokens(["my card"]))
    with torch.no_grad():
        states = mean.net(input_ids=ids).last_hidden_state[0].numpy()
    for encoder, expected in ((first, states[0]), (mean, states.mean(0))):
        assert encoder.vectors(["my card"])[0] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)


def test_it_is_frozen_in_evaluation_and_vectors_leave_the_mode(encoder):
    assert not encoder.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    encoder.train()
    assert encoder.vectors(["my card"]) == pytest.approx(encoder.eval().vectors(["my card"]))


def test_no_text_is_cut_later_than_the_net_has_places(tiny):
    assert load_encoder(str(tiny), longest=500).tokens.longest == 40
    assert load_encoder(str(tiny), longest=8).tokens.longest == 8


def test_a_folder_that_holds_something_else_is_one_sentence(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "broken")
    (folder / "config.json").write_text('{"model_type": "no-such"}')
    with pytest.raises(ModelUnavailable, match=r"broken: not a text encoder that can be read \("):
        load_encoder(str(folder))
    shutil.copy(tiny / "config.json", folder / "config.json")
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelUnavailable, match="not a text encoder that can be read"):
        load_encoder(str(folder))
