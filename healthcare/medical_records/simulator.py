"""Simulated notes, English and Chinese, whose entities and denials are known: lines of `simulate.toml`, filled in.

A third of the terms are for the test part alone; lines are shared. Of the terms of the other parts half are made up:
what is learnt from is what stands around them.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args
from zlib import crc32

from common.text.tags import Mark
from healthcare.medical_records.ner_data import Marked
from healthcare.medical_records.spans import Kind, Language

SIMULATED = "notes-simulated"
LINES = (4, 8)
"""Of a note, at least and at most."""
MADE_UP = 0.5
"""Share of the terms of the train and valid parts."""
_SLOT = re.compile(r"\{(-?)(\w+)\}|<(\d+)-(\d+)>|\[([^\]]*)\]")
Part = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Simulated:
    """Notes with marks by kind; `denied[i][j]` says whether mark j of note i is denied."""

    marked: Marked
    denied: list[list[bool]]


def simulate(language: Language, notes: int, seed: int, part: Part) -> Simulated:
    """Notes of a part. The same seed, the same notes."""
    rng = random.Random(f"{seed} {language} {part}")
    lines = tables()[0][language]["lines"]
    terms: dict[str, list[str]] = {
        kind: [word for word in tables()[1][kind][language] if (crc32(word.encode()) % 3 == 0) == (part == "test")]
        for kind in get_args(Kind)
    }
    found = Simulated(Marked([], [], []), [])
    for number in range(notes):
        text, marks, denied = _note(rng, lines, terms, language, 0 if part == "test" else MADE_UP)
        found.marked.ids.append(f"{language}-{part}-{number}")
        found.marked.texts.append(text)
        found.marked.marks.append(marks)
        found.denied.append(denied)
    return found


@cache
def tables() -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Lines by language, terms by kind and language."""
    lines, terms = (
        tomllib.loads(files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))
        for name in ("simulate", "terms")
    )
    return lines, terms


def _note(
    rng: random.Random, lines: Sequence[str], terms: Mapping[str, Sequence[str]], language: Language, made_up: float
) -> tuple[str, list[Mark], list[bool]]:
    text, marks, denied = "", list[Mark](), list[bool]()
    for line in rng.sample(lines, min(rng.randint(*LINES), len(lines))):
        text += "" if not text else "\n" if rng.random() < 0.5 else "" if language == "zh" else " "
        at = 0
        for slot in _SLOT.finditer(line):
            text += line[at : slot.start()]
            at = slot.end()
            no, kind, least, most, choices = slot.groups()
            if choices is not None:
                text += rng.choice(choices.split("|"))
            elif least:
                text += str(rng.randint(int(least), int(most)))
            else:
                word = _made_up(rng, language) if rng.random() < made_up else rng.choice(terms[kind])
                word = word[0].upper() + word[1:] if not text or text[-1] == "\n" else word
                marks.append(Mark(len(text), len(text) + len(word), kind))
                denied.append(bool(no) or line[at:].startswith((": none", "：无")))
                text += word
        text += line[at:]
    return text, marks, denied


def _made_up(rng: random.Random, language: Language) -> str:
    """One or two words of three syllables or so, or two to five characters of the terms, that mean nothing."""
    if language == "zh":
        return "".join(rng.choices(_characters(), k=rng.randint(2, 5)))
    words = rng.choice((1, 1, 2))
    return " ".join("".join(rng.choices(_syllables(), k=rng.randint(2, 4))) for _ in range(words))


@cache
def _characters() -> list[str]:
    return sorted({character for some in tables()[1].values() for word in some["zh"] for character in word})


@cache
def _syllables() -> list[str]:
    """Two or three letters that stand together in a term."""
    words = [word for some in tables()[1].values() for term in some["en"] for word in term.split()]
    return sorted({word[at : at + size] for word in words for size in (2, 3) for at in range(len(word) - size + 1)})
