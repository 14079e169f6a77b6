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
OTHER = re.compile(
    r"\b(?:je|j'ai|ma|mon|mes|est|une|les|pas|vous|bonjour|ich|meine?|nicht|bitte|und|ist|wo|hallo|el|los|mi|la|una|está"
    r"|por|que|dónde|hola|não|minha|meu|uma|onde|il|mia|mio|ho|ciao|carta|karte|carte|tarjeta|cartão|dinero)\b",
    re.IGNORECASE,
)
ENGLISH = re.compile(r"\b(?:the|my|i|is|to|an?|and|of|please|how|what|can|do|for|in)\b", re.IGNORECASE)
"""Words of French, German, Spanish, Portuguese and Italian that English lacks, and of English."""
_HAN = r"\u3400-\u4dbf\u4e00-\u9fff"
BORDER = re.compile(
    r"[!?;。…！？；，\n]+|\.(?!\d)|,(?!\d)|(?<=\s)[-–—&](?=\s)"
    r"|\b(?:and|also|plus|then|but|btw|by the way|besides(?: that)?|as well as(?: that)?|in addition|another thing"
    r"|one more (?:thing|question)|while I'm here)\b:?"
    r"|另外|顺便(?:问一?下)?|还有(?:就是)?|同时|然后|以及|并且|而且|(?:除此)?之?外|对了|接着|第二个问题|和"
    r"|再(?=[帮查看问给请])|还想|也(?=[想要请帮查看问])"
    rf"|(?<=[{_HAN}])\s*(?=(?:[A-Za-z'’]+[ ,]+){{2}}[A-Za-z'’])|(?-i:(?<=[a-z]{{2}})) +(?=[{_HAN}]{{3}})"
    rf"|(?<=[{_HAN}]{{2}}) +(?=[{_HAN}]{{2}})",
    re.IGNORECASE,
)
"""Where one request may end and another begin: ends of clauses, words that join, another script, a blank in Chinese."""
MOST_CLAUSES = 3
BACK = re.compile(r"\b(?:it|it's|its|this|these|those|them|they)\b|它", re.IGNORECASE)
INTRODUCES = re.compile(
    r"\W*(?:my name is|my name's|this is|我叫|我的名字[是叫])\W*[A-Z\u4e00-\u9fff]\w*(?: [A-Z]\w*)?\W*"
)
NAMED = re.compile(r"\b(?:my|your|our|an?|the|any|some)\b", re.IGNORECASE)


def language_of(text: str) -> Language | None:
    """The language of most words, a Chinese character counting as half of one; None: neither, or no letter at all."""
    text = unicodedata.normalize("NFKC", text)  # full-width letters are letters
    foreign, han, latin = len(FOREIGN.findall(text)), len(HAN.findall(text)), len(LATIN.findall(text))
    letters = len(LETTER.findall(text))
    if not letters or not (han or latin) or foreign > letters / 3:
        return None
    if not han and len(OTHER.findall(text)) > max(1, 2 * len(ENGLISH.findall(text))):
        return None
    return "zh" if han / 2 >= latin else "en"


def clauses(text: str) -> list[tuple[int, int]]:
    """Where the parts of a text lie that may each want something else, at most three: short ones join a neighbour."""
    spans, at = [], 0
    for border in [*BORDER.finditer(text), None]:
        end = border.start() if border else len(text)
        if len(LETTER.findall(text[at:end])) >= 2:
            spans.append((at, end))
        at = border.end() if border else end
    while len(spans) > MOST_CLAUSES:
        length = [end - start for start, end in spans]
        pair = min(range(len(spans) - 1), key=lambda i: length[i] + length[i + 1])
        spans[pair : pair + 2] = [(spans[pair][0], spans[pair + 1][1])]
    return spans


def refers_back(text: str) -> bool:
    """Whether a text speaks of something that it does not name, but what stands before it: "can you block it"."""
    found = BACK.search(text)
    return found is not None and not NAMED.search(text[: found.start()])
