"""Two requests in one message, made of two utterances: what a test asks of multi-intent understanding."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files

import numpy as np

from finance.customer_service.data import Utterances
from finance.customer_service.reader import SMALL_TALK

LEADS = {
    "en": re.compile(r"(?:I (?:want|need|have|wish|would like) to|I'd like to|can (?:I|you)|could (?:I|you)|I) ", re.I),
    "zh": re.compile("我想要?|我要|我需要|请?帮我|请问|我"),
}
"""What two requests may begin with and say once."""


@cache
def joins() -> dict[str, list[str]]:
    """What may stand between two requests, by language or `mixed`."""
    return tomllib.loads(files(__package__).joinpath("joins.toml").read_text(encoding="utf-8"))


def pairs(data: Utterances, count: int, seed: int) -> dict[str, list[tuple[str, int, int]]]:
    """Texts, each with the rows of `data` that it is made of, whose intents differ: `count` of each of `en`, `zh` and
    `mixed`, as far as there are the languages. Small talk is no request."""
    rng = np.random.default_rng(seed)
    made: dict[str, list[tuple[str, int, int]]] = {}
    serious = data.known & ~np.isin(data.intent, list(SMALL_TALK))
    rows = {language: np.flatnonzero(serious & (data.language == language)) for language in ("en", "zh")}
    for kind, between in joins().items():
        if not all(len(rows[language]) for language in ([kind] if kind in rows else rows)):
            continue
        made[kind] = []
        while len(made[kind]) < count:
            order = [kind, kind] if kind in rows else rng.permutation(["en", "zh"])
            first, second = (int(rng.choice(rows[str(language)])) for language in order)
            if data.intent[first] != data.intent[second]:
                text = join(data.text[first], data.text[second], str(rng.choice(between)), kind)
                made[kind].append((text, first, second))
    return made


def join(first: str, second: str, between: str, language: str) -> str:
    """Both as one message; in mid-sentence the second has no capital letter, and a question mark may stay."""
    first = first.rstrip(" .。!！,，" + ("" if between[0] in " \n" else "?？"))
    if between.endswith("~"):
        between = between[:-1]
        lead, other = LEADS[language].match(first), LEADS[language].match(second)
        if other and lead and other[0].lower() == lead[0].lower():
            second = second[other.end() :]
        elif second.startswith(("I ", "我")) and re.search(r"\bI\b|我", first):
            second = second[1:].lstrip()
    if not re.search(r"[.!:\n-] *$", between) and not re.match(r"I\b|[A-Z]{2}", second):
        second = second[0].lower() + second[1:]
    return first + between + second
