"""Texts with identifiers whose places are known: lines of `templates.toml`, filled from `names.toml`.

A third of the lines, and a quarter of the English names, places and employers, are for the test part alone.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal
from zlib import crc32

from healthcare.medical_records.deid.identifiers import Identifier, Kind
from healthcare.medical_records.deid.values import Maker, Pools, makers

Part = Literal["train", "test"]
SLOT = re.compile(r"\{(\w+)\}")
CHOICE = re.compile(r"\(([^()]*)\)")
LOWERED, RAISED = 0.06, 0.02
"""How often a text is in lower case, or its identifiers in capitals."""


@cache
def tables() -> tuple[dict[str, Any], dict[str, Any]]:
    """Names and templates."""
    read = files(__package__)
    names, templates = (read.joinpath(f"{name}.toml").read_text(encoding="utf-8") for name in ("names", "templates"))
    return tomllib.loads(names), tomllib.loads(templates)


WORDS = tables()[1]["words"]
"""Slots that identify nobody."""


@dataclass(frozen=True)
class Annotated:
    """A text, what identifies somebody in it (disjoint, in order), and the line that it was made from."""

    text: str
    identifiers: tuple[Identifier, ...]
    template: str
    language: str


def held_out(line: str) -> bool:
    """Whether a line of the templates is for the test part."""
    return crc32(line.encode()) % 3 == 0


def simulate(seed: int, variants: int, *, part: Part, general: bool = False) -> list[Annotated]:
    """`variants` texts of every clinical line of a part, with `general` of the general lines too (all of them train).

    The same seed, the same texts.
    """
    _, templates = tables()
    lines = [
        (line, "zh" if name.startswith("zh") else "en") for name, some in templates["clinical"].items() for line in some
    ]
    lines = [one for one in lines if held_out(one[0]) == (part == "test")]
    if general:
        lines += [(line, "en") for some in templates["general"].values() for line in some]
    made = []
    for line, language in lines:
        rng = random.Random(f"{seed} {part} {line}")
        pools = pools_of(part, language)
        for _ in range(variants if SLOT.search(line) else max(1, variants // 3)):
            made.append(fill(line, language, pools, rng))
    return made


@cache
def pools_of(part: Part, language: str) -> Pools:
    """What slots of a part are filled from: Chinese names are put together from characters and not held out."""
    names, _ = tables()
    pools = {}
    for key, entry in names[language].items():
        words = entry.replace("_", "\u00a0").split(" ") if " " in entry else list(entry)
        words = [word.replace("\u00a0", " ") for word in words]
        if language == "en" and key in ("female", "male", "last", "cities", "company_words", "company_parts"):
            words = [word for word in words if (crc32(word.encode()) % 4 == 0) == (part == "test")]
        pools[key] = words
    return pools


@cache
def slots(language: str) -> dict[str, tuple[Kind, Maker]]:
    """What fills the slots of a language."""
    forms = tables()[0]["forms"]
    return makers(language, forms["both"] | forms[language])


def fill(line: str, language: str, pools: Pools, rng: random.Random) -> Annotated:
    """One way to say a line."""
    text = line
    while CHOICE.search(text):
        text = CHOICE.sub(lambda found: rng.choice(found[1].split("|")), text)
    out, found, at = "", [], 0
    small = language == "en" and rng.random() < LOWERED
    for slot in SLOT.finditer(text):
        out += text[at : slot.start()]
        at = slot.end()
        if slot[1] in WORDS:
            out += rng.choice(WORDS[slot[1]])
            continue
        kind, make = slots(language)[slot[1]]
        value = make(pools, rng)
        if rng.random() < RAISED and kind in ("name", "location"):
            value = value.upper()
        found.append((kind, len(out), len(out) + len(value)))
        out += value
    out += text[at:]
    if small and len(out.lower()) == len(out):
        out = out.lower()
    return Annotated(out, tuple(Identifier.of(kind, out, start, end) for kind, start, end in found), line, language)


def note(texts: Sequence[Annotated], between: str = "\n") -> Annotated:
    """Several texts as one."""
    out, found = "", []
    for one in texts:
        for it in one.identifiers:
            found.append(Identifier(it.kind, it.start + len(out), it.end + len(out), it.text))
        out += one.text + between
    return Annotated(out, tuple(found), "note", texts[0].language)
