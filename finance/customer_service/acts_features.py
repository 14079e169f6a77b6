"""What the models of dialogue acts look at: characters, known values, and what was said before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from finance.customer_service.acts_data import Turn
from finance.customer_service.acts_model import hashed

Span = tuple[int, int, str]
"""Start, end, slot."""
NO_VALUE = frozenset({"", "none", "无", "是", "否"})
FACILITY = "酒店设施-"


class Lexicon:
    """Values seen in training, found in a text; the longest first."""

    def __init__(self, dialogues: Iterable[Sequence[Turn]]) -> None:
        self.seen: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        self.facilities: set[str] = set()
        for number, dialogue in enumerate(dialogues):
            for intent, _, slot, value in (act for turn in dialogue for act in turn.acts):
                if slot.startswith(FACILITY):
                    self.facilities.add(slot.removeprefix(FACILITY))
                elif intent != "Select" and len(value) > 1 and value not in NO_VALUE:
                    self.seen[value][slot].add(number)
        self._starts: dict[str, list[str]] = defaultdict(list)
        for value in sorted({*self.seen, *self.facilities}, key=len, reverse=True):
            self._starts[value[:2]].append(value)

    def find(self, text: str, own: int = -1) -> list[Span]:
        """Known values with each slot they have had, but for those of the dialogue `own` alone, and facilities."""
        found, i = [], 0
        while i < len(text) - 1:
            step = 1
            for value in self._starts.get(text[i : i + 2], ()):
                if text.startswith(value, i):
                    slots = [slot for slot, where in self.seen.get(value, {}).items() if where - {own}]
                    slots += [FACILITY + value] if value in self.facilities else []
                    if slots:
                        found += [(i, i + len(value), slot) for slot in slots]
                        step = len(value)
                        break
            i += step
        return found


def said_before(history: Sequence[Turn], text: str) -> list[Span]:
    """Values of earlier turns that a text names again; their slot with its domain."""
    earlier: dict[str, str] = {}
    for turn in reversed(history):
        for _, domain, slot, value in turn.acts:
            if len(value) > 1 and value not in NO_VALUE and not slot.startswith(FACILITY):
                earlier.setdefault(value, domain + slot)
    return [(at, at + len(value), what) for value, what in earlier.items() if (at := text.find(value)) >= 0]


def context(history: Sequence[Turn]) -> list[str]:
    """The acts of the last three turns, and the last domain."""
    found = []
    for back, turn in enumerate(reversed(history[-3:])):
        found += [f"p{back}{intent}{domain}{slot.split('-')[0]}" for intent, domain, slot, _ in turn.acts]
    domains = [act[1] for turn in reversed(history) for act in turn.acts if act[1] != "General"]
    return [*found, "d" + (domains[0] if domains else "-")]


def characters(turn: Turn, known: Sequence[Span], before: Sequence[Span], around: Sequence[str]) -> list[np.ndarray]:
    """The features of each character of a turn's text."""
    text = f"\2\2\2\2{turn.text}\3\3\3\3"
    kinds = "".join(
        "0" if c.isdigit() else "a" if c.isascii() and c.isalpha() else "汉" if c.isalpha() else c for c in text
    )
    marks: list[list[str]] = [[] for _ in turn.text]
    for name, spans in (("L", known), ("H", before)):
        for start, end, slot in spans:
            for i in range(start, end):
                place = "B" if i == start else "E" if i == end - 1 else "I"
                marks[i] += [name + place + slot, name + place]
    rows = []
    for i in range(len(turn.text)):
        j = i + 4
        row = [f"u{o}{text[j + o]}" for o in range(-3, 4)]
        row += [f"b{o}{text[j + o : j + o + 2]}" for o in range(-4, 4)]
        row += [f"t{o}{text[j + o : j + o + 3]}" for o in range(-4, 2)]
        row += [f"q{o}{text[j + o : j + o + 4]}" for o in (-4, 0)]
        row += [f"k{o}{kinds[j + o : j + o + 3]}" for o in (-2, -1, 0)]
        row += [turn.speaker, turn.speaker + text[j], *(turn.speaker + one for one in around), *marks[i]]
        row += [">" + mark for mark in marks[i + 1]] if i + 1 < len(marks) else []
        row += ["<" + mark for mark in marks[i - 1]] if i else []
        rows.append(hashed(row))
    return rows


def span_row(turn: Turn, span: Span, before: Sequence[Span], around: Sequence[str]) -> np.ndarray:
    """The features of one value in its turn: itself, what stands around it, and the dialogue so far."""
    start, end, slot = span
    slot, text = slot.split("-")[0], turn.text
    left, right = text[max(0, start - 8) : start], text[end : end + 8]
    row = ["s" + slot, turn.speaker + slot]
    row += ["v" + gram for gram in grams(text[start:end], 1, 3)]
    row += [slot + "l" + left[-n:] for n in range(1, 7)] + [slot + "r" + right[:n] for n in range(1, 7)]
    row += ["lg" + gram for gram in grams(left, 2, 3)] + ["rg" + gram for gram in grams(right, 2, 3)]
    row += [slot + "t" + gram for gram in grams(text, 2, 2)]
    row += ["c" + turn.speaker + slot + one for one in around]
    return hashed(row + ["h" + what for at, _, what in before if at == start])


def text_row(turn: Turn, spans: Sequence[Span], around: Sequence[str]) -> np.ndarray:
    """The features of a whole turn, its values replaced by their slots."""
    text = turn.text
    for start, end, slot in sorted(spans, reverse=True):
        text = f"{text[:start]}<{slot}>{text[end:]}"
    row = [turn.speaker + gram for gram in grams(text, 1, 4)] + [turn.speaker + one for one in around]
    row += [f"{turn.speaker}has{slot}" for _, _, slot in spans]
    return hashed(row + [f"{around[-1]}|{gram}" for gram in grams(text, 2, 2)])


def domain_row(turn: Turn, what: str, around: Sequence[str]) -> np.ndarray:
    """The features by which an act without a value finds its domain."""
    what = what.split("-")[0]
    row = [what, *(f"{what}t{gram}" for gram in grams(turn.text, 2, 3)), *(f"{what}c{one}" for one in around)]
    return hashed(row + ["t" + gram for gram in grams(turn.text, 2, 2)] + ["c" + one for one in around])


def grams(text: str, least: int, most: int) -> list[str]:
    """All n-grams of characters, the ends of the text marked."""
    text = f"^{text}$"
    return [text[i : i + n] for n in range(least, most + 1) for i in range(len(text) - n + 1)]
