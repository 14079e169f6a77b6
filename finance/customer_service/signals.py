"""What a whole message can be without any model: a yes, a no, a wish to stop or for a person, a question."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from finance.customer_service.nodes import Words
from finance.customer_service.understood import Language, Understood
from finance.customer_service.values import plain

SIGNALS = ("person", "cancel", "yes", "no", "bye", "thanks", "hello")
"""In this order; the words of each are in `phrases.toml`."""
QUESTION = re.compile(
    r"[?？]\s*$|^(what|how|when|where|why|which|can|could|do|does|is|are)\b|吗|呢|多少|怎么|什么|哪|几点", re.IGNORECASE
)
CJK = re.compile(r"[\u3400-\u9fff]")
LATIN = re.compile(r"[A-Za-z]{2,}")
FILLERS = re.compile(r"\bplease\b|请|吧|啊|呀|哦|呢")
BUT = re.compile(
    r"[?？\n]|.{50}|\b(but|not|no|never|dont|\w*n't|wait|other|another|instead|except|if|unless|first|only|cancel|stop"
    r"|what|how|why|when|which|who|hold|change|maybe|think)\b|[但不没别除另先等吗呢么取换改再若如]",
    re.IGNORECASE,
)
"""After a yes: what makes it none, or leaves doubt."""
STOPS = re.compile(r"[,，.。!！;；]")


class Signals:
    """The words of each signal; see `phrases.toml`."""

    def __init__(self, words: Mapping[str, Words]) -> None:
        spoken = {name: (*words[name].en, *words[name].zh) for name in SIGNALS}
        self._spoken = {name: _spoken(some) for name, some in spoken.items()}
        self._leaving = _spoken((*spoken["bye"], *spoken["thanks"]))  # both; thanks alone have been found before

    def of(self, text: str) -> str:
        """Which of `SIGNALS` the whole message is, or "".

        After a yes or a no and a comma there may be more; after a yes, nothing that takes it back or asks.
        """
        said = plain(FILLERS.sub(" ", plain(text)))
        found = next((name for name, spoken in self._spoken.items() if spoken.fullmatch(said)), "")
        first, *rest = STOPS.split(said, maxsplit=1)
        if not found and self._leaving.fullmatch(said):
            return "bye"
        # With a number after it, it is a correction, whether the number is understood or not.
        if found or re.search(r"\d", "".join(rest)):
            return found
        if self._spoken["no"].fullmatch(first):
            return "no"
        return "yes" if self._spoken["yes"].fullmatch(first) and not BUT.search(text) else ""


def is_question(text: str) -> bool:
    """Whether it asks something."""
    return bool(QUESTION.search(text.strip()))


def language_after(text: str, understood: Understood, before: Language) -> Language:
    """That of the message; digits and signs alone change nothing."""
    return understood.language if CJK.search(text) or LATIN.search(text) else before


def numbered(labels: Sequence[str], language: Language) -> str:
    """Labels to choose from, in one sentence."""
    joint = "；" if language == "zh" else "; "
    return joint.join(f"{place}) {label}" for place, label in enumerate(labels, 1))


def _spoken(words: Sequence[str]) -> re.Pattern[str]:
    """One or more of these words and nothing else; Chinese ones need nothing between them."""
    either = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?:(?:{either})(?:[\s,.!;，。！；、]+|$|(?<=[\u3400-\u9fff])))+")
