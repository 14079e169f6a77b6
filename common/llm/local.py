"""A causal language model of `transformers` from a folder, run on this machine."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from common.errors import ModelUnavailable
from common.llm.writer import Message, WriterFailed


class LocalModel:
    """Writes greedily with the model in a folder (`config.json`, safetensors weights, tokenizer); one call at a time.

    Only safetensors are read and no code of the folder is run. Raises `ModelUnavailable` when it holds no such model.
    """

    def __init__(self, folder: Path, *, tokens: int = 300) -> None:
        if not (folder / "config.json").is_file():
            fix = "set ESPALIER_LLM_FOLDER to a folder as `save_pretrained` writes it"
            raise ModelUnavailable("no model in the folder", where=str(folder), expected="config.json", fix=fix)
        transformers = _transformers()
        how: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **how)
            self._model = transformers.AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, **how).eval()
        except (OSError, ValueError, KeyError) as error:
            what = f"not a causal model with safetensors and a tokenizer ({type(error).__name__})"
            raise ModelUnavailable(what, where=str(folder)) from error
        self._tokens, self._one = tokens, threading.Lock()

    def write(self, messages: list[Message]) -> str:
        """The continuation of the messages. Raises `WriterFailed` when they do not fit or nothing is written."""
        import torch

        ids = self._tokenizer(self._prompt(messages), return_tensors="pt", add_special_tokens=False)["input_ids"]
        room = int(getattr(self._model.config, "max_position_embeddings", 0) or 1 << 30)
        if ids.shape[1] + self._tokens > room:
            raise WriterFailed(
                "the passages do not fit into the model", where="local model", got=ids.shape[1], expected=room
            )
        with self._one, torch.inference_mode():
            written = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=self._tokens,
                do_sample=False,
                pad_token_id=self._tokenizer.eos_token_id,
            )
        text = self._tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True).strip()
        if not text:
            raise WriterFailed("it wrote nothing", where="local model")
        return str(text)

    def _prompt(self, messages: list[Message]) -> str:
        if self._tokenizer.chat_template:
            said = [message._asdict() for message in messages]
            return str(self._tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True))
        return "\n\n".join([*(message.content for message in messages), "Answer:"])


def _transformers() -> Any:
    from importlib.util import find_spec

    if not find_spec("transformers"):
        raise ModelUnavailable("transformers is not installed", where="local model", fix="install `espalier[text]`")
    if find_spec("torchvision"):
        import common.vision.torchvision_ops  # noqa: F401  (without it transformers cannot be imported)
    import transformers

    return transformers
