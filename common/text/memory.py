"""How the very same surroundings were tagged in other texts: features of a tagger, learned from its texts.

A kind of nearest neighbours (Wang et al., 2022, arXiv:2203.17103) without a model. Surroundings are kept as numbers of
32 bits, not as text.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from common.text.tags import Mark, Tags
from common.text.units import Kind, plain, units

LEVELS = 3
"""Seen once or differently; seen twice and mostly alike; seen four times and nearly always alike."""
STEP = np.uint64(1_000_003)


class Memory:
    """For every unit and every one of `sizes` (odd numbers of units) the tag that its middle had most often."""

    def __init__(self, kind: Kind, labels: Sequence[str], sizes: Sequence[int]) -> None:
        self.kind, self.sizes, self.tags = kind, tuple(sizes), Tags(tuple(labels))
        self._counts: list[tuple[np.ndarray, np.ndarray]] = []
        self._best: list[tuple[np.ndarray, np.ndarray]] = []

    @property
    def values(self) -> int:
        """Different values of a feature: none, or a tag and how sure it is."""
        return 1 + LEVELS * len(self.tags)

    def fit(self, texts: Sequence[str], marks: Sequence[Sequence[Mark]]) -> Self:
        """Count the tags of all surroundings."""
        pairs = [self._pairs(text, own) for text, own in zip(texts, marks, strict=True)]
        self._counts = [
            _counted(np.concatenate([np.zeros(0, np.uint64), *(own[at] for own in pairs)]))
            for at in range(len(self.sizes))
        ]
        self._best = []
        for keys, counts in self._counts:
            table = np.unique(keys // np.uint64(len(self.tags)))
            found = np.zeros((len(table), len(self.tags)), np.int64)
            found[np.searchsorted(table, keys // np.uint64(len(self.tags))), keys % np.uint64(len(self.tags))] = counts
            self._best.append((table.astype(np.uint32), _values(found)))
        return self

    def features(self, text: str, own: Sequence[Mark] | None = None) -> np.ndarray:
        """int64 (units, sizes): 0 for what was never there, or 1 + LEVELS * tag + level.

        With `own`, the marks of a text that was fitted, as if that text had not been there.
        """
        found = [np.zeros(0, np.int64)] * len(self.sizes)
        for at, hashes in enumerate(self._hashes(text)):
            if own is None:
                table, values = self._best[at]
                found[at] = np.where(_is_in(table, hashes), values[_place(table, hashes)], 0)
            else:
                every = hashes[:, None] * np.uint64(len(self.tags)) + np.arange(len(self.tags), dtype=np.uint64)
                mine = _counted(self._pairs(text, own)[at])
                found[at] = _values(_looked_up(self._counts[at], every) - _looked_up(mine, every))
        return np.stack(found, axis=1) if found else np.zeros((len(units(text, self.kind)), 0), np.int64)

    def state(self) -> dict[str, Any]:
        """As JSON."""
        tables = [[_packed(table), _packed(values.astype(np.uint16))] for table, values in self._best]
        return {"sizes": list(self.sizes), "tables": tables}

    def restore(self, state: dict[str, Any]) -> Self:
        """What `state` gave, without what features of fitted texts need."""
        self._best = [
            (_unpacked(table, np.uint32), _unpacked(values, np.uint16).astype(np.int64))
            for table, values in state["tables"]
        ]
        return self

    def _pairs(self, text: str, marks: Sequence[Mark]) -> list[np.ndarray]:
        tags = self.tags.of(marks, units(text, self.kind)).astype(np.uint64)
        return [hashes * np.uint64(len(self.tags)) + tags for hashes in self._hashes(text)]

    def _hashes(self, text: str) -> list[np.ndarray]:
        """Of every size uint64 (units,), below 2 ** 32."""
        small = plain(text)
        words = [small[start:end] for start, end in units(text, self.kind)]
        half = max(self.sizes, default=0) // 2
        codes = np.zeros(len(words) + 2 * half, np.uint64)
        codes[half : half + len(words)] = [zlib.crc32(word.encode()) for word in words]
        found = []
        for size in self.sizes:
            hashes = np.zeros(len(words), np.uint64)
            for place in range(-(size // 2), size // 2 + 1):
                hashes = hashes * STEP + codes[half + place : half + place + len(words)]
            found.append((hashes ^ (hashes >> np.uint64(32))) & np.uint64(0xFFFFFFFF))
        return found


def _values(counts: np.ndarray) -> np.ndarray:
    """Counts (rows, tags) to values int64 (rows,)."""
    total, most = counts.sum(1), counts.max(1, initial=0)
    level = ((total >= 2) & (most > 0.6 * total)).astype(np.int64) + ((total >= 4) & (most > 0.9 * total))
    return np.where(total > 0, 1 + LEVELS * counts.argmax(1) + level, 0)


def _counted(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.unique(keys, return_counts=True)


def _looked_up(counted: tuple[np.ndarray, np.ndarray], keys: np.ndarray) -> np.ndarray:
    table, counts = counted
    return np.where(_is_in(table, keys), counts[_place(table, keys)], 0)


def _is_in(table: np.ndarray, keys: np.ndarray) -> np.ndarray:
    return table[_place(table, keys)] == keys


def _place(table: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Where a key is in a table if it is there; a table has one row at least."""
    return np.minimum(np.searchsorted(table, keys), len(table) - 1)


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode()


def _unpacked(text: str, kind: type[np.generic]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.dtype(kind).newbyteorder("<")).astype(kind)
