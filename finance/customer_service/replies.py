"""Replies in the customer's language, from `replies.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from finance.customer_service.understood import Language


@cache
def _texts() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("replies.toml").read_text(encoding="utf-8"))


def name_of(intent: str, language: Language) -> str:
    """What an intent is called in a sentence; one that the file does not name, by its own words."""
    known = _texts()["names"].get(intent)
    return str(known[language]) if known else intent.replace("_", " ").strip().lower()


def text_of(what: str, language: Language) -> str:
    """The text `what` of the file, as it stands."""
    return str(_texts()[what][language])


def reply(what: str, language: Language, intents: Sequence[str] = ()) -> str:
    """The text `what` of the file, with the intents in words."""
    between = text_of("or" if what == "clarify" else "and", language)
    names = between.join(name_of(intent, language) for intent in intents)
    return text_of(what, language).format(names=names)
