"""What the console says in another language: `words.<language>.toml` maps English to it, here and beside a `serve.py`.

A text without a translation stays English, so a system can begin with none.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

LANGUAGES = {"en": "English", "zh": "中文"}
"""The first one is what the source speaks."""

Say = Callable[[Any], str]


def speaker(language: str, kind: type | None = None, labels: Mapping[str, str] | None = None) -> Say:
    """How to say things in a language, first as the system of the predictor `kind` does, then as the console does.

    `labels` are the names of fields and what they are called instead.
    """
    known = dict(_read(Path(__file__).parent, language))
    if kind and (source := getattr(sys.modules.get(kind.__module__), "__file__", None)):
        known |= _read(Path(source).parent, language)
    called = {name.replace("_", " "): label for name, label in (labels or {}).items()}

    def say(text: Any) -> str:
        text = str(text)
        text = called.get(text, text)
        return known.get(text, text)

    return say


@lru_cache
def _read(folder: Path, language: str) -> dict[str, str]:
    path = folder / f"words.{language}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def language_of(asked: str, accepted: str) -> str:
    """The language of `?lang=`, else the first one of `Accept-Language` that is spoken here, else English."""
    ranked = sorted(_ranked(accepted), key=lambda pair: -pair[1])
    for name in (asked, *(name for name, weight in ranked if weight > 0)):
        if (short := name.strip().lower().partition("-")[0]) in LANGUAGES:
            return short
    return next(iter(LANGUAGES))


def _ranked(accepted: str) -> Iterable[tuple[str, float]]:
    for part in accepted.split(",")[:20]:
        name, _, weight = part.partition(";q=")
        try:
            yield name, float(weight or 1)
        except ValueError:
            continue
