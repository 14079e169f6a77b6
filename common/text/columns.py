"""Texts as rows of small numbers, one row a word or character: what a tagger reads."""

from __future__ import annotations

import unicodedata
from bisect import bisect
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np

from common.text.gazetteer import VALUES, Gazetteer
from common.text.memory import Memory
from common.text.tags import Mark
from common.text.units import Kind, plain, units

PAD, RARE = 0, 1
"""Numbers of no unit at all and of what was too rare in training to have a number."""
LETTERS = 16
"""Characters of a word that are read, from its start."""
RADICALS = sorted(unicodedata.normalize("NFKC", chr(at)) for at in range(0x2F00, 0x2FD6))
"""Chinese characters are in the order of their 214 radicals, and each radical is the first of its own."""
LONGEST: dict[Kind, int] = {"words": 12, "characters": 20}
"""Units of a phrase in the dictionary at most."""


class Columns:
    """Rows int64 (units, width): the unit, its forms, its places in dictionaries, its memory, a word's letters.

    The first column is the unit itself and never `PAD`. `sizes` are the numbers of values of the columns before the
    letters, `letters` that of the letters (0: there are none, for characters). `others` are dictionaries that were
    fitted on other texts, with labels of their own; `memory` are the sizes of a `Memory`.
    """

    def __init__(
        self,
        kind: Kind,
        labels: Sequence[str],
        *,
        rarest: int = 2,
        others: Sequence[Gazetteer] = (),
        memory: Sequence[int] = (),
    ) -> None:
        self.kind, self.rarest, self.others = kind, rarest, list(others)
        self.memory = Memory(kind, labels, memory)
        self.gazetteer = Gazetteer(kind, labels, longest=LONGEST[kind])
        self.vocabularies: list[dict[str, int]] = []

    def fit(self, texts: Sequence[str], marks: Sequence[Sequence[Mark]], more: Sequence[str] = ()) -> Self:
        """Learn the values of all columns, and the dictionary; `more` are texts without marks, for the values alone."""
        self.gazetteer.fit(texts, marks)
        self.memory.fit(texts, marks)
        counts: list[Counter[str]] = []
        for text in (*texts, *more):
            forms = list(zip(*self._forms(text), strict=True)) or [()] * len(counts)
            counts = counts or [Counter() for _ in forms]
            for counter, values in zip(counts, forms, strict=True):
                counter.update(values)
        if self.kind == "words":
            counts.append(
                Counter(character for text in (*texts, *more) for character in text if not character.isspace())
            )
        self.vocabularies = [self._numbered(counter) for counter in counts]
        return self

    def __call__(self, text: str, own: Sequence[Mark] | None = None) -> np.ndarray:
        """Rows of all units; `own` as in `Gazetteer.features`."""
        parts = [self.forms(text), self.gazetteer.features(text, own)]
        parts += [*(other.features(text) for other in self.others), self.memory.features(text, own)]
        if self.kind == "words":
            parts.append(self._letters(text))
        return np.hstack(parts)

    def forms(self, text: str) -> np.ndarray:
        """The first columns of the rows: the units and their forms."""
        tables = self.vocabularies[: len(self.vocabularies) - (self.kind == "words")]
        rows = [[table.get(form, RARE) for table, form in zip(tables, row, strict=True)] for row in self._forms(text)]
        return np.array(rows, np.int64).reshape(len(rows), len(tables))

    @property
    def sizes(self) -> list[int]:
        """Of every column but the letters."""
        forms = self.vocabularies[: len(self.vocabularies) - (self.kind == "words")]
        memory = [self.memory.values] * len(self.memory.sizes)
        return [*(RARE + 1 + len(table) for table in forms), *[VALUES] * self.places, *memory]

    @property
    def places(self) -> int:
        """Columns of places in phrases: one for every label of every dictionary."""
        return sum(len(known.labels) for known in (self.gazetteer, *self.others))

    @property
    def letters(self) -> int:
        """Different letters and the two of their absence."""
        return RARE + 1 + len(self.vocabularies[-1]) if self.kind == "words" else 0

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "kind": self.kind,
            "labels": list(self.gazetteer.labels),
            "vocabularies": [list(table) for table in self.vocabularies],
            "gazetteer": self.gazetteer.state(),
            "memory": self.memory.state(),
            "others": [[list(other.labels), other.state()] for other in self.others],
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        """What `state` gave."""
        kind = state["kind"]
        others = [Gazetteer(kind, labels, longest=LONGEST[kind]).restore(own) for labels, own in state["others"]]
        columns = cls(kind, state["labels"], others=others, memory=state["memory"]["sizes"])
        columns.memory.restore(state["memory"])
        tables = state["vocabularies"]
        columns.vocabularies = [{form: RARE + 1 + at for at, form in enumerate(table)} for table in tables]
        columns.gazetteer.restore(state["gazetteer"])
        return columns

    def _forms(self, text: str) -> Iterator[tuple[str, ...]]:
        spans = units(text, self.kind)
        small = plain(text)
        if self.kind == "words":
            for start, end in spans:
                word = small[start:end]
                yield word, word[-3:], word[:4], shape(text[start:end])
            return
        characters = ["^", *(small[start:end] for start, end in spans), "$"]
        for before, own, after in zip(characters, characters[1:], characters[2:], strict=False):
            yield own, before + own, own + after, before + own + after, radical(own)

    def _letters(self, text: str) -> np.ndarray:
        table = self.vocabularies[-1]
        spans = units(text, self.kind)
        found = np.full((len(spans), LETTERS), PAD, np.int64)
        for row, (start, end) in zip(found, spans, strict=True):
            word = text[start:end][:LETTERS]
            row[: len(word)] = [table.get(letter, RARE) for letter in word]
        return found

    def _numbered(self, counter: Counter[str]) -> dict[str, int]:
        kept = sorted(form for form, count in counter.items() if count >= self.rarest)
        return {form: RARE + 1 + at for at, form in enumerate(kept)}


def shape(word: str) -> str:
    """`Xx` for Abc, `X0` for G6, `-` for a mark of punctuation: kinds of characters, of equals in a row one."""
    kinds = ["0" if c.isdigit() else "X" if c.isupper() else "x" if c.isalpha() else c for c in word]
    return "".join(kind for at, kind in enumerate(kinds) if not at or kinds[at - 1] != kind)[:6]


def radical(character: str) -> str:
    """That of a Chinese character (疒 of 痛), the shape of others."""
    return RADICALS[bisect(RADICALS, character) - 1] if "一" <= character <= "鿿" else shape(character)
