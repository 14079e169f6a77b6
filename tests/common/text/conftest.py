from __future__ import annotations

from pathlib import Path

import pytest

from common.config import settings

TEXT = "where is my card the new one lost i want to pay money transfer of balance what it not yet there you are"
WORDS = TEXT.split()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """`machine(OFFLINE="true")`: an empty folder of models and an empty hub cache, and other settings on demand."""

    def change(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"ESPALIER_{name}", str(value))
        settings.cache_clear()

    monkeypatch.delenv("ESPALIER_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"), raising=False)
    change(MODELS=tmp_path / "models")
    yield change
    settings.cache_clear()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """The folder of a BERT of two layers, 32 wide, with random weights and a vocabulary of some words."""
    pytest.importorskip("torch", exc_type=ImportError)
    pytest.importorskip("transformers", exc_type=ImportError)
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    from common.text.encoder import transformers

    folder = tmp_path_factory.mktemp("tiny")
    vocabulary = {word: at for at, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    library = transformers()
    torch.manual_seed(0)
    config = library.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=40,
    )
    library.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder
