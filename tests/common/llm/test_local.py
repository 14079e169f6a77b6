"""A causal model from a folder: a tiny one with random weights, made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.errors import ModelUnavailable
from common.llm.local import LocalModel, _transformers
from common.llm.writer import LlmSettings, Message, WriterFailed, writer

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers: Any = _transformers()
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("model")
    words = ["<unk>", "<end>", "the", "card", "is", "blocked", "[cards#1]", "Answer", ":"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>"
    ).save_pretrained(place)
    config = transformers.GPT2Config(
        vocab_size=len(words), n_embd=8, n_layer=1, n_head=1, n_positions=64, eos_token_id=1, bos_token_id=1
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(place, safe_serialization=True)
    return place


def test_it_writes_the_same_again(folder: Path) -> None:
    model = writer(LlmSettings(folder=folder, tokens=16))
    assert isinstance(model, LocalModel)
    said = [Message("system", "the card"), Message("user", "is blocked")]
    text = model.write(said)
    assert text
    assert model.write(said) == text


def test_what_does_not_fit_is_refused(folder: Path) -> None:
    with pytest.raises(WriterFailed, match="do not fit"):
        LocalModel(folder, tokens=16).write([Message("user", "card " * 60)])


def test_what_is_no_model(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="no model in the folder"):
        LocalModel(tmp_path)
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle is never read")
    with pytest.raises(ModelUnavailable, match="safetensors"):
        LocalModel(tmp_path)
