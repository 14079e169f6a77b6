"""Which language a text is in, by its letters; and its clauses."""

from __future__ import annotations

import re
import unicodedata

from finance.customer_service.understood import Language

HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
LATIN = re.compile(r"[A-Za-z]+")
LETTER = re.compile(r"[^\W\d_]")
FOREIGN = re.compile(r"[\u0370-\u1fff\u3040-\u30ff\uac00-\ud7af]")
"""Greek, Cyrillic, Hebrew, Arabic, Indic, Thai, kana, Hangul and the like."""
CLAUSE = re.compile(
    r"(?:[!?;。]|\.(?!\d))+|,(?!\d)\s*(?:and|also|plus)?\b|\b(?:and also|and then|as well as|besides)\b"
    r"|\band (?=(?:I|can|could|how|what|where|when|why|please|do|is|my)\b)"
    r"|另外|顺便|还有(?=[我想请帮怎能可什])",
    re.IGNORECASE,
)
LONGEST_CLAUSES = 4


def language_of(text: str) -> Language | None:
    """The language of most words, a Chinese character counting as half of one; None: neither, or no letter at all."""
    text = unicodedata.normalize("NFKC", text)  # full-width letters are letters
    foreign, han, latin = len(FOREIGN.findall(text)), len(HAN.findall(text)), len(LATIN.findall(text))
    letters = len(LETTER.findall(text))
    if not letters or not (han or latin) or foreign > letters / 3:
        return None
    return "zh" if han / 2 >= latin else "en"


def clauses(text: str) -> list[str]:
    """The parts of an utterance that may each want something else: at most four, at borders of clauses."""
    parts = [part.strip(" ,，、:") for part in CLAUSE.split(unicodedata.normalize("NFKC", text))]
    return [part for part in parts if len(LETTER.findall(part)) >= 2][:LONGEST_CLAUSES]
