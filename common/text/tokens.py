"""Texts to token ids by a `tokenizer.json`, with the library `tokenizers` alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from common.errors import ModelUnavailable

CHARACTERS = 24
"""Characters read for a token at most: the rest of a very long text costs no time."""


class Tokens:
    """Token ids of texts; `pad` is the id that fills shorter rows and stands for no token of a text.

    Names of special tokens in a text, such as `[SEP]`, are read as plain text. Raises `ModelUnavailable` for a file
    that is no tokenizer.
    """

    def __init__(self, file: Path | str | bytes, *, longest: int = 64) -> None:
        try:
            content = file if isinstance(file, bytes) else Path(file).read_bytes()
            self._tokenizer = Tokenizer.from_str(content.decode())
        except Exception as error:  # tokenizers raises plain Exceptions
            where = "tokenizer.json" if isinstance(file, bytes) else str(file)
            raise ModelUnavailable(f"not a tokenizer ({error})", where=where, fix="put the right file there") from error
        self.longest = longest
        self.pad = (self._tokenizer.padding or {}).get("pad_id") or self._tokenizer.token_to_id("[PAD]") or 0
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(longest)
        self._tokenizer.encode_special_tokens = True

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Ids int64 (texts, tokens of the longest), at most `longest` a text with its special tokens, then `pad`."""
        cut = [" ".join(text[: self.longest * CHARACTERS].split()) for text in texts]
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(cut)]
        ids = np.full((len(rows), max(map(len, rows), default=0)), self.pad, dtype=np.int64)
        for row, found in zip(ids, rows, strict=True):
            row[: len(found)] = found
        return ids

    def pieces(self, words: Sequence[str]) -> list[list[int]]:
        """Ids of every word alone, without special tokens: one at least, and at most `longest`."""
        found = self._tokenizer.encode_batch(list(words), add_special_tokens=False)
        return [encoding.ids or [self._tokenizer.token_to_id("[UNK]") or self.pad] for encoding in found]

    @property
    def frame(self) -> tuple[int, int]:
        """The special tokens before and behind a text."""
        ids = self._tokenizer.encode("").ids
        return ids[0], ids[-1]

    def state(self) -> str:
        """The content of the `tokenizer.json`."""
        return self._tokenizer.to_str()

    @property
    def size(self) -> int:
        """Different tokens."""
        return self._tokenizer.get_vocab_size()

    def id_of(self, *names: str) -> int | None:
        """Of the first of these tokens that there is."""
        return next((found for name in names if (found := self._tokenizer.token_to_id(name)) is not None), None)
