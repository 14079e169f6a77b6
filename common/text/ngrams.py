"""TF-IDF of character and word n-grams, any language: counted when fitted, state as data, served without scikit-learn.

A character of Chinese, Japanese or Korean counts as a word of its own, so that no word list is needed.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from common.config import Strict
from common.errors import UsageError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LONGEST = 1000
"""Characters of a text that are read."""
IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
WORD = re.compile(rf"[{IDEOGRAPHS}]|[^\W_{IDEOGRAPHS}]+(?:'[^\W_{IDEOGRAPHS}]+)*")
MARK = "\x1f"
"""Begins an n-gram of words: `\x1fa b` is two words, `a b` three characters."""


class Grams(Strict):
    """Which n-grams are counted."""

    characters: int = Field(5, ge=0, le=8, description="longest n-gram of characters")
    words: int = Field(2, ge=0, le=4, description="longest n-gram of words")
    least: int = Field(2, ge=1, description="texts in which an n-gram must stand")
    most: int = Field(200_000, ge=1, description="n-grams kept, the most frequent ones")


class NGrams:
    """Texts to rows of length 1; fitted by `NGrams.fit`, kept by `state` and `NGrams.of`."""

    def __init__(self, grams: Grams, vocabulary: Sequence[str], idf: np.ndarray) -> None:
        self.grams, self.vocabulary, self.idf = grams, list(vocabulary), idf.astype(np.float32)
        self._column = {gram: column for column, gram in enumerate(self.vocabulary)}

    @classmethod
    def fit(cls, texts: Sequence[str], grams: Grams | None = None) -> NGrams:
        """Count n-grams; idf is ln((1 + texts) / (1 + texts with it)) + 1. Raises `UsageError` when none is left."""
        grams = grams or Grams()
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(set(_grams(text, grams)))
        kept = sorted(gram for gram, count in counts.most_common(grams.most) if count >= grams.least)
        if not kept:
            expected = f"n-grams that stand in at least {grams.least}"
            raise UsageError("nothing to count", where="n-grams", got=f"{len(texts)} texts", expected=expected)
        idf = [math.log((1 + len(texts)) / (1 + counts[gram])) + 1 for gram in kept]
        return cls(grams, kept, np.array(idf))

    def row(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Columns int64 and their values float32 of one text; both empty when nothing of it is known."""
        counts = Counter(column for gram in _grams(text, self.grams) if (column := self._column.get(gram)) is not None)
        columns = np.fromiter(counts.keys(), np.int64, len(counts))
        values = (1 + np.log(np.fromiter(counts.values(), np.float32, len(counts)))) * self.idf[columns]
        return columns, values / max(float(np.linalg.norm(values)), 1e-12)

    def __call__(self, texts: Sequence[str]) -> csr_matrix:
        """float32 (texts, n-grams)."""
        from scipy.sparse import csr_matrix

        rows = [self.row(text) for text in texts]
        starts = np.cumsum([0, *(len(columns) for columns, _ in rows)])
        columns = np.concatenate([np.empty(0, np.int64), *(columns for columns, _ in rows)])
        values = np.concatenate([np.empty(0, np.float32), *(values for _, values in rows)])
        return csr_matrix((values, columns, starts), shape=(len(texts), len(self.vocabulary)))

    def state(self) -> dict[str, Any]:
        """All that was fitted, as JSON can hold it."""
        return {"grams": self.grams.model_dump(), "vocabulary": self.vocabulary, "idf": self.idf.astype(float).tolist()}

    @classmethod
    def of(cls, state: dict[str, Any]) -> NGrams:
        """What `state` described."""
        return cls(Grams(**state["grams"]), state["vocabulary"], np.array(state["idf"]))


def normalised(text: str) -> str:
    """NFKC (full-width forms become plain ones), lower case, one blank between words; cut off behind `LONGEST`."""
    return " ".join(unicodedata.normalize("NFKC", text[:LONGEST]).casefold().split())


def _grams(text: str, grams: Grams) -> Iterator[str]:
    text = normalised(text)
    framed = f" {text} "
    for size in range(1, grams.characters + 1):
        yield from (framed[start : start + size] for start in range(len(framed) - size + 1))
    words = WORD.findall(text)
    for size in range(1, grams.words + 1):
        yield from (MARK + " ".join(words[start : start + size]) for start in range(len(words) - size + 1))
