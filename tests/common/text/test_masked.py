from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", exc_type=ImportError)
pytest.importorskip("transformers", exc_type=ImportError)

import torch

from common.errors import UsageError
from common.text.encoder import load_encoder
from common.text.masked import Masking, Small, _Hidden, new_encoder, pretrain_masked, save_encoder
from common.training.loop import Optimisation

SIZE = Small(width=32, layers=1, heads=2, vocabulary=60, longest=40)
SETTINGS = Masking(longest=12, optimisation=Optimisation(epochs=15, batch=16, learning_rate=1e-2))
PAIRS = [("salt", "pepper"), ("bread", "butter"), ("day", "night"), ("dog", "cat")]


def texts(count, seed):
    draw = np.random.default_rng(seed)
    return [" ".join(["{} and {} .".format(*PAIRS[at])] * 3) for at in draw.integers(0, 4, count)]


def test_hidden_words_are_guessed_from_their_context_after_training():
    encoder = new_encoder(texts(40, 1), "words", SIZE, seed=1)
    history = pretrain_masked(encoder, texts(200, 1), SETTINGS, seed=1, valid=texts(40, 2))
    # Whoever knows the places of words but not what a text is about is right in 62 %.
    assert max(history.metrics) > 0.85
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_an_encoder_from_nothing_learns_at_the_full_rate_and_a_trained_one_slowly():
    def moved():
        before = {name: weight.clone() for name, weight in encoder.net.named_parameters()}
        pretrain_masked(encoder, texts(100, 1), slow, seed=1)
        return max(float((weight - before[name]).abs().max()) for name, weight in encoder.net.named_parameters())

    slow = Masking(longest=12, optimisation=Optimisation(epochs=1, batch=16, learning_rate=1e-2, backbone_rate=1e-3))
    encoder = new_encoder(texts(40, 1), "words", SIZE, seed=1)
    assert moved() > 1e-3
    assert moved() < 1e-4


def test_a_stopped_run_goes_on_from_its_file(tmp_path):
    file = tmp_path / "run.safetensors"
    whole, again = (new_encoder(texts(40, 1), "words", SIZE, seed=1) for _ in range(2))
    expected = pretrain_masked(whole, texts(20, 1), SETTINGS, seed=1, checkpoint=file)
    assert pretrain_masked(again, texts(20, 1), SETTINGS, seed=1, checkpoint=file).losses == expected.losses
    assert again.vectors(["salt and day"]) == pytest.approx(whole.vectors(["salt and day"]), abs=1e-6)
    with pytest.raises(UsageError, match="a checkpoint of another run"):
        pretrain_masked(again, texts(20, 5), SETTINGS, seed=1, checkpoint=file)


def test_a_share_of_the_tokens_is_hidden_and_no_special_one():
    encoder = new_encoder(texts(40, 1), "words", SIZE, seed=1)
    hidden = _Hidden(encoder.tokens, texts(30, 1), Masking(share=0.25, longest=12))
    special = {encoder.tokens.pad, *encoder.tokens.frame}
    masked = random = 0
    for row in range(len(hidden)):
        (shown, chosen), truth = hidden[row]
        assert int(chosen.sum()) == 3 == int((truth >= 0).sum())  # of twelve words
        assert not special & set(truth[truth >= 0].tolist())
        assert torch.equal(shown[truth < 0], hidden.ids[row][truth < 0])
        masked += int((shown == hidden.mask).sum())
        random += int(((shown != hidden.mask) & (shown != hidden.ids[row])).sum())
    assert 0.65 < masked / (3 * len(hidden)) < 0.95
    assert random


def test_characters_of_chinese_are_tokens_of_their_own():
    encoder = new_encoder(["患者 CD117(+)，头痛。"] * 2, "characters", SIZE, seed=1)
    assert len(encoder.tokens(["头 痛，cd"])[0]) == 2 + 5
    assert encoder.tokens.id_of("[UNK]") not in encoder.tokens(["头痛ＣＤ"])[0].tolist()
    assert encoder.tokens.pieces(["头", "x"])[1] == [encoder.tokens.id_of("[UNK]")]


def test_a_saved_encoder_is_loaded_by_its_folder(tmp_path):
    encoder = new_encoder(texts(40, 1), "words", SIZE, seed=1)
    save_encoder(encoder, tmp_path / "ours")
    again = load_encoder(str(tmp_path / "ours"), longest=40)
    assert again.vectors(["salt and day"]) == pytest.approx(encoder.vectors(["salt and day"]), abs=1e-5)


def test_no_text_and_no_mask_are_refused(tiny):
    with pytest.raises(UsageError, match="no text to pre-train on: got 1 texts"):
        pretrain_masked(new_encoder(texts(40, 1), "words", SIZE, seed=1), [" "], SETTINGS, seed=1)
    with pytest.raises(UsageError, match="the tokenizer has no mask"):
        pretrain_masked(load_encoder(str(tiny)), ["my card"], SETTINGS, seed=1)
