"""What must not be logged or sent on, replaced by its kind: `[CARD]`, `[ACCOUNT]`, `[NAME]`.

Masks by form and by the words around: of names that nothing announces, only first and last name together in English are
found, and places of two words with them. Where in doubt it masks: every run of seven
digits or more goes, whatever stands between them, unless it reads as dates, times or one amount.
"""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files

from common.text.identifiers import MAIL, RESIDENT, SPELT, SSN, fold, ibans, is_card
from finance.customer_service.identifiers import ACCOUNT, LAST_FOUR
from finance.customer_service.numbers import UNITS

SPOKEN = str.maketrans("〇零一幺二三四五六七八九壹贰叁肆伍陆柒捌玖", "001123456789123456789")
WORDS = {word: str(UNITS[word]) for word in UNITS if UNITS[word] < 10 and word not in ("a", "an")}
WORDS |= {"oh": "0", "nought": "0"}

_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_DATE = rf"(?:(?:19|20)\d\d[-/.](?:0?[1-9]|1[0-2])[-/.]{_DAY}|{_DAY}[-/.]{_DAY}[-/.](?:19|20)\d\d)"
_TIME = r"\d{1,2}:\d\d(?::\d\d(?:\.\d{1,6})?)?"
MOMENTS = re.compile(rf"(?:{_DATE}|{_TIME})(?:[ T,]{{1,2}}(?:{_TIME}|{_DATE})|-{_DATE})*Z?")
AMOUNT = re.compile(r"\d{1,9}\.\d{1,2}|\d{1,12}")
MONEY = re.compile(r"[$€£¥￥₹]|\b(?:usd|eur|gbp|cny|rmb|hkd)", re.IGNORECASE)
UNIT = re.compile(
    r" ?(?:[元块圆万亿]|美[元金]|[欧日澳加]元|港[元币]|英镑|[$€£]"
    r"|(?:dollar|euro|pound|yuan|usd|eur|gbp|cny|rmb|hkd)s?\b)",
    re.IGNORECASE | re.ASCII,
)
RUN = re.compile(r"(?:\+ ?|\()?\d(?:[^\w\n,，;。]{0,3}\d|[,\n_](?=\d{4}|\d(?!\d))\d){6,}[xX]?")
SAID = re.compile(rf"\b(?:{'|'.join(WORDS)})(?:[ ,\-]{{1,2}}(?:{'|'.join(WORDS)})){{5,}}\b", re.IGNORECASE)


def _cues() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """The kinds and patterns of `masking.toml`, with their parts put in."""
    known = tomllib.loads(files(__package__).joinpath("masking.toml").read_text(encoding="utf-8"))

    def whole(pattern: str) -> str:
        return re.sub(r"%([a-z_]+)%", lambda found: whole(known["parts"][found[1]]), pattern)

    return tuple((kind, re.compile(whole(pattern), re.ASCII)) for kind, pattern in known["cues"])


CUES = _cues()


def mask(text: str) -> str:
    """The text with everything that names, reaches or identifies a person replaced by its kind.

    Kinds: `[NAME]`, `[EMAIL]`, `[PHONE]`, `[CARD]`, `[ACCOUNT]`, `[IBAN]`, `[ID]`, `[SECRET]` (PIN, password, code),
    `[DATE]` (of birth), `[ADDRESS]`, `[NUMBER]` (seven digits or more of any other sort). Digits may be of any script
    or said in words. Masking twice changes nothing.
    """
    folded = fold(text)
    spans: list[tuple[int, int, str]] = [(start, end, "IBAN") for start, end, _ in ibans(folded)]
    spans += [(*found.span(), "EMAIL") for pattern in (MAIL, SPELT) for found in pattern.finditer(folded)]
    for kind, pattern in CUES:
        for found in pattern.finditer(folded):
            spans.append((*found.span("it"), kind))
    spans += [(*found.span("number"), "ACCOUNT") for found in ACCOUNT.finditer(folded)]
    spans += [(*found.span("number"), "CARD") for found in LAST_FOUR.finditer(folded)]
    spans += [(*found.span(), "ID") for found in SSN.finditer(folded)]
    spans += [(*found.span(), _kind(_spoken(found.group()))) for found in SAID.finditer(folded)]
    digits = folded.translate(SPOKEN)
    for found in RUN.finditer(digits):
        if not _harmless(digits, found):
            spans.append((*found.span(), _kind(found.group())))
    return _replace(text, spans)


def _replace(text: str, spans: list[tuple[int, int, str]]) -> str:
    """Overlapping spans become one, named by the first found of them."""
    parts, at = [], 0
    order = sorted(range(len(spans)), key=lambda i: spans[i][0])
    merged: list[tuple[int, int, int]] = []
    for i in order:
        start, end, _ = spans[i]
        if merged and start < merged[-1][1]:
            first, last, which = merged[-1]
            merged[-1] = (first, max(last, end), min(which, i))
        elif end > start:
            merged.append((start, end, i))
    for start, end, which in merged:
        parts += [text[at:start], f"[{spans[which][2]}]"]
        at = end
    return "".join([*parts, text[at:]])


def _harmless(folded: str, found: re.Match[str]) -> bool:
    """Whether a run of digits is dates and times, or one amount of money."""
    run = found.group()
    if MOMENTS.fullmatch(run):
        return True
    money = MONEY.search(folded[max(0, found.start() - 4) : found.start()]) or UNIT.match(folded, found.end())
    return bool(AMOUNT.fullmatch(run) and (money or "." in run))


def _spoken(words: str) -> str:
    return "".join(WORDS[word] for word in re.findall("[a-z]+", words.lower()))


def _kind(run: str) -> str:
    digits = "".join(c for c in run.upper() if c.isdigit() or c == "X")
    if RESIDENT.fullmatch(digits):
        return "ID"
    if any(is_card(digits[:size]) for size in range(13, 20)):
        return "CARD"
    if run[0] in "+(" or re.fullmatch(r"(?:0?0?86)?1[3-9]\d{9}|\d{10,11}", digits):
        return "PHONE"
    return "ACCOUNT" if 12 <= len(digits) <= 20 else "NUMBER"
