"""A dictionary of marked phrases that knows how often each is meant: features of a tagger, learned from its texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Self

import numpy as np

from common.text.tags import Mark
from common.text.units import Kind, plain, units

SURE, SELDOM = 0.8, 0.3
"""Shares of a phrase's occurrences that are marked: above it is usually meant, below seldom."""
VALUES = 1 + 4 * 3
"""Values of a feature: none, or one of four places in a phrase that is meant seldom, often or usually."""


class Gazetteer:
    """Phrases of texts by label, with counts: how often marked, how often there at all."""

    def __init__(self, kind: Kind, labels: Sequence[str], *, longest: int = 12) -> None:
        self.kind, self.labels, self.longest = kind, tuple(labels), longest
        self.marked: dict[str, list[int]] = {}
        self.there: dict[str, int] = {}
        self._reach: dict[str, int] = {}

    def fit(self, texts: Sequence[str], marks: Sequence[Sequence[Mark]]) -> Self:
        """Learn the phrases of all marks, at most `longest` units long."""
        self.marked, self.there = {}, {}
        numbers = {label: number for number, label in enumerate(self.labels)}
        keys = [self._keys(text) for text in texts]
        for (words, spans), own in zip(keys, marks, strict=True):
            for phrase, label in self._phrases(words, spans, own):
                self.marked.setdefault(phrase, [0] * len(self.labels))[numbers[label]] += 1
        self._measure()
        for words, _ in keys:
            for phrase, count in Counter(phrase for _, _, phrase in self._matches(words)).items():
                self.there[phrase] = self.there.get(phrase, 0) + count
        return self

    def features(self, text: str, own: Sequence[Mark] | None = None) -> np.ndarray:
        """int64 (units, labels): 0, or the place in the longest phrase of the label that the unit is part of.

        With `own`, the marks of a text that was fitted, as if that text had not been there: what is learned from the
        features then holds for new texts too.
        """
        words, spans = self._keys(text)
        found = np.zeros((len(words), len(self.labels)), np.int64)
        lengths = np.zeros(found.shape, np.int64)
        matches = list(self._matches(words))
        numbers = {label: number for number, label in enumerate(self.labels)}
        own_marks = Counter((phrase, numbers[label]) for phrase, label in self._phrases(words, spans, own or ()))
        own_there = Counter(phrase for _, _, phrase in matches) if own is not None else Counter[str]()
        for start, end, phrase in matches:
            for label, count in enumerate(self.marked[phrase]):
                marked = count - own_marks[phrase, label]
                if marked <= 0 or lengths[start:end, label].max() >= end - start:
                    continue
                share = marked / max(self.there[phrase] - own_there[phrase], marked)
                base = 1 + 4 * (int(share > SELDOM) + int(share > SURE))
                lengths[start:end, label] = end - start
                found[start:end, label] = base + 1
                found[start, label], found[end - 1, label] = base, base + 2
                if end - start == 1:
                    found[start, label] = base + 3
        return found

    def longest_marks(self, text: str) -> list[Mark]:
        """The longest phrases from left to right, each as what it is most often: a baseline that knows no context."""
        words, spans = self._keys(text)
        found: list[Mark] = []
        for start, end, phrase in sorted(self._matches(words), key=lambda match: (match[0], -match[1])):
            if not found or spans[start][0] >= found[-1].end:
                label = self.labels[int(np.argmax(self.marked[phrase]))]
                found.append(Mark(spans[start][0], spans[end - 1][1], label))
        return found

    def state(self) -> dict[str, list[int]]:
        """As JSON: for every phrase how often it is there and how often it is marked as each label."""
        return {phrase: [self.there[phrase], *counts] for phrase, counts in self.marked.items()}

    def restore(self, state: dict[str, list[int]]) -> Self:
        """What `state` gave."""
        self.there = {phrase: counts[0] for phrase, counts in state.items()}
        self.marked = {phrase: counts[1:] for phrase, counts in state.items()}
        self._measure()
        return self

    def _measure(self) -> None:
        """Units of the longest phrase that begins with each unit."""
        self._reach = {}
        for phrase in self.marked:
            words = phrase.split(" ") if self.kind == "words" else phrase
            self._reach[words[0]] = max(self._reach.get(words[0], 0), len(words))

    def _keys(self, text: str) -> tuple[list[str], list[tuple[int, int]]]:
        spans = units(text, self.kind)
        text = plain(text)
        return [text[start:end] for start, end in spans], spans

    def _phrases(
        self, words: Sequence[str], spans: Sequence[tuple[int, int]], marks: Sequence[Mark]
    ) -> list[tuple[str, str]]:
        starts, ends = (
            {start: at for at, (start, _) in enumerate(spans)},
            {e: at + 1 for at, (_, e) in enumerate(spans)},
        )
        found = []
        for mark in marks:
            first, last = starts.get(mark.start), ends.get(mark.end)
            if first is not None and last is not None and 0 < last - first <= self.longest:
                found.append((self._joined(words[first:last]), mark.label))
        return found

    def _matches(self, words: Sequence[str]) -> list[tuple[int, int, str]]:
        """Every known phrase, where it begins and ends."""
        found = []
        for start, first in enumerate(words):
            for end in range(start + 1, min(start + self._reach.get(first, 0), len(words)) + 1):
                phrase = self._joined(words[start:end])
                if phrase in self.marked:
                    found.append((start, end, phrase))
        return found

    def _joined(self, words: Sequence[str]) -> str:
        return (" " if self.kind == "words" else "").join(words)
