"""What the tagger sees of a token: its letters, its shape, word classes, and the tokens around it; as strings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from healthcare.medical_records.deid.identifiers import Kind

TOKEN = re.compile(r"\n|[\u3400-\u9fff]|[^\W\d_]+|\d+|[^\w\s]|_")
FRAME = "<>"
LONGEST_WORD = 30


@dataclass(frozen=True)
class Token:
    """A word, number, sign, line break or Chinese character; or what a rule has found, then `text` is `<kind>`."""

    text: str
    start: int
    end: int


def tokens(folded: str, found: Sequence[tuple[Kind, int, int]] = ()) -> list[Token]:
    """Tokens of a text in order; disjoint spans that rules have found are one token each."""
    made, at = [], 0
    for kind, start, end in (*found, ("other", len(folded), len(folded))):
        made += [Token(m.group(), *m.span()) for m in TOKEN.finditer(folded, at, start)]
        if end > start:
            made.append(Token(f"<{kind}>", start, end))
        at = end
    return made


class Classes:
    """Word classes: lists of `names.toml`, and clusters of words with like meanings, finer and coarser."""

    def __init__(self, lists: Mapping[str, Sequence[str]], clusters: Mapping[str, Sequence[int]]) -> None:
        self.lists, self.clusters = lists, clusters
        self._phrases: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for label, phrases in lists.items():
            for phrase in phrases:
                words = tuple(token.text for token in tokens(phrase.lower()))
                self._phrases.setdefault(words[0], []).append((words, label))
        for some in self._phrases.values():
            some.sort(key=lambda one: -len(one[0]))

    def listed(self, words: Sequence[str]) -> list[list[str]]:
        """Of every word the lists that it, or a phrase around it, is in."""
        found: list[list[str]] = [[] for _ in words]
        for at, word in enumerate(words):
            for phrase, label in self._phrases.get(word, ()):
                if tuple(words[at : at + len(phrase)]) == phrase:
                    for place in range(at, at + len(phrase)):
                        if label not in found[place]:
                            found[place].append(label)
        return found

    def cluster(self, word: str) -> tuple[str, str]:
        """The finer and the coarser cluster of a word; what no vocabulary has goes by its kind."""
        known = self.clusters.get(word)
        if known is not None:
            return f"c{known[0]}", f"d{known[1]}"
        if word[0].isalpha():
            return "rare", "rare"
        return "sign", "sign"


@lru_cache(20_000)
def shape(word: str) -> str:
    """Capitals, small letters, digits and signs, at most two of a kind in a row."""
    if word[0] == "<" and len(word) > 1:
        return word
    kinds = "".join(
        "X" if c.isupper() else "x" if c.isalpha() else "d" if c.isdigit() else c for c in word[:LONGEST_WORD]
    )
    return re.sub(r"(.)\1{2,}", r"\1\1", kinds)


@lru_cache(20_000)
def _plain(word: str) -> str:
    """Small letters, digits as zeros."""
    return re.sub(r"\d", "0", word.lower()[:LONGEST_WORD])


@lru_cache(20_000)
def _letters(word: str) -> tuple[str, ...]:
    plain = _plain(word)
    ends = [f"<{plain[:n]}" for n in (1, 2, 3, 4) if len(plain) > n]
    return (*ends, *(f"{plain[-n:]}>" for n in (1, 2, 3, 4) if len(plain) > n), f"n{min(len(plain), 15)}")


def features(folded: str, made: Sequence[Token], classes: Classes) -> list[list[str]]:
    """Features of every token; the same text gives the same ones wherever it is."""
    n = len(made)
    words = [_plain(token.text) for token in made]
    shapes = [shape(token.text) for token in made]
    listed = classes.listed([token.text.lower() for token in made])
    lists = ["|".join(sorted(some)) for some in listed]
    both = [classes.cluster(token.text.lower()) for token in made]
    glued = [at > 0 and made[at - 1].end == made[at].start for at in range(n)]
    # Two neighbours on each side stand around the text, so that no place needs a test.
    pad = [FRAME] * 3
    w, s, g, c, d = (
        pad + some + pad for some in (words, shapes, lists, [fine for fine, _ in both], [coarse for _, coarse in both])
    )
    rows = []
    for at in range(n):
        i = at + 3
        row = [
            "b",
            f"w{w[i]}",
            f"s{s[i]}",
            f"c{c[i]}",
            f"d{d[i]}",
            f"l{int(glued[at])}{int(at + 1 < n and glued[at + 1])}{s[i]}",
            *_letters(made[at].text),
            *(f"g{one}" for one in listed[at]),
        ]
        for o in (-3, -2, -1, 1, 2, 3):
            row.append(f"{o}w{w[i + o]}")
            row.append(f"{o}c{c[i + o]}")
        for o in (-2, -1, 1, 2):
            row.append(f"{o}s{s[i + o]}")
            row.append(f"{o}d{d[i + o]}")
            if g[i + o]:
                row.append(f"{o}g{g[i + o]}")
        row += [
            f"A{w[i - 2]} {w[i - 1]}",
            f"B{w[i + 1]} {w[i + 2]}",
            f"C{w[i - 1]} {w[i + 1]}",
            f"D{s[i - 1]} {s[i]} {s[i + 1]}",
            f"E{w[i - 1]} {s[i]}",
            f"F{s[i]} {w[i + 1]}",
            f"G{c[i - 2]} {c[i - 1]}",
            f"H{c[i + 1]} {c[i + 2]}",
            f"I{c[i - 1]} {s[i]} {c[i + 1]}",
            f"J{d[i - 2]} {d[i - 1]} {s[i]}",
            f"K{s[i]} {d[i + 1]} {d[i + 2]}",
            f"L{g[i]} {w[i - 1]}",
            f"M{g[i]} {w[i + 1]}",
            f"N{s[i]} {s[i + 1]} {s[i + 2]}",
        ]
        rows.append(row)
    return rows
