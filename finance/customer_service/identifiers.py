"""Numbers that belong to somebody: cards, accounts and IBANs, found by form, check digits and the words before them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from finance.customer_service.understood import Entity

DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−﹣"), "-")
BLANKS = dict.fromkeys(
    map(ord, "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f"), " "
)
UNSEEN = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"), " ")
FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | {0x3000: " "}
FOLDED = DASHES | BLANKS | UNSEEN | FULL_WIDTH

_LENGTHS = (
    "15NO 16BE 18DK 18FI 18FO 18GL 18NL 18SD 19MK 19SI 20AT 20BA 20EE 20KZ 20LT 20LU 20MN 20XK 21CH 21HR 21LI 21LV"
    "22BG 22BH 22CR 22DE 22GB 22GE 22IE 22ME 22RS 22VA 23AE 23GI 23IL 23IQ 23OM 23SO 23TL 24AD 24CZ 24ES 24MD 24PK"
    "24RO 24SA 24SE 24SK 24TN 24VG 25LY 25PT 25ST 26IS 26TR 27BI 27DJ 27FR 27GR 27IT 27MC 27MR 27SM 28AL 28AZ 28BY"
    "28CY 28DO 28GT 28HU 28LB 28NI 28PL 28SV 29BR 29EG 29PS 29QA 29UA 30JO 30KW 30MU 31MT 31SC 32LC 33RU"
)
IBAN_LENGTHS = {country: int(length) for length, country in re.findall(r"(\d\d)(\w\w)", _LENGTHS)}
"""By country, as SWIFT registers them."""

LAST_FOUR = re.compile(
    r"(?:\b(?:card|account|acct|a/c|number|one)\b.{0,8}\bend(?:ing|s)(?: (?:in|with))?|\bend(?:ing|s)? (?:in|with)"
    r"|\blast (?:four|4)(?: digits)?(?: (?:are|is|of))?|[x*•]{4}"
    r"|(?:尾号|[末后][四4]位)(?:数字)?[是为]?)[\s:#-]{0,3}(?P<number>\d{4})(?![\d年])",
    re.IGNORECASE | re.ASCII,
)
DIGITS = re.compile(r"\d(?:[ -]{0,3}\d){12,}")
LONGEST = 64
"""Digits of a run that is searched for cards; in a longer one every few would make one by chance."""
IBAN = re.compile(r"(?<![A-Z0-9])[A-Z]{2}[ -]?\d[ -]?\d(?:[ -]?[A-Z0-9]){11,30}", re.IGNORECASE | re.ASCII)
ACCOUNT = re.compile(
    r"(?:\b(?:account|acct|a/c)\b[\s:#.]{0,3}(?:(?:number|num|nr|no)\b\.?)?|[账帐][号户](?:号码)?)"
    r"[\s:#.]{0,3}(?:(?:is|=|是|为)[\s:]{0,2})?(?P<number>[A-Z]{0,2}\d(?:[ -]?\d){5,19})(?![ -]?\d)",
    re.IGNORECASE | re.ASCII,
)
ACCOUNT_WORD = re.compile(r"(?:account|acct|a/c|[账帐][号户])", re.IGNORECASE)


def fold(text: str) -> str:
    """The text with full-width forms, dashes, blanks and digits of any script in their ASCII form; same length."""
    text = text.translate(FOLDED)
    if text.isascii():
        return text
    return "".join(c if c.isascii() or (d := unicodedata.digit(c, None)) is None else str(d) for c in text)


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1)."""
    doubled = [int(c) * (1 + i % 2) for i, c in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def is_card(digits: str) -> bool:
    """Whether digits can be a payment card: 13 to 19 of them, an issuer's first digit, the check digit."""
    return 13 <= len(digits) <= 19 and digits[0] in "23456" and luhn(digits)


def is_iban(text: str) -> bool:
    """Whether text without blanks is an IBAN: its country's length, and 1 modulo 97 (ISO 13616)."""
    if IBAN_LENGTHS.get(text[:2].upper()) != len(text):
        return False
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def ibans(folded: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and compact form of every IBAN in a folded text."""
    at = 0
    while found := IBAN.search(folded, at):
        at = found.end()
        start = found.start()
        length = IBAN_LENGTHS.get(found.group()[:2].upper(), 0)
        places = [i for i in range(start, found.end()) if folded[i].isalnum()][:length]
        compact = "".join(folded[i] for i in places).upper()
        if length and is_iban(compact):
            at = places[-1] + 1
            yield start, at, compact
        else:
            at = start + 2


def cards(folded: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and digits of every card in a folded text; other numbers may stand right before and after it."""
    for run in DIGITS.finditer(folded):
        places = [i for i in range(*run.span()) if folded[i].isdigit()]
        first = 0
        while first + 13 <= len(places) <= LONGEST:
            digits = "".join(folded[i] for i in places[first : first + 19])
            sizes = [n for n in range(len(digits), 12, -1) if not folded[places[first + n - 1] + 1 :][:1].isdigit()]
            if size := next((n for n in sizes if is_card(digits[:n])), 0):
                yield places[first], places[first + size - 1] + 1, digits[:size]
            first += size or 1
            while first < len(places) and places[first] == places[first - 1] + 1:
                first += 1


def find_identifiers(text: str, folded: str) -> Iterator[Entity]:
    """Cards and accounts of a text; `folded` is `fold(text)`. May overlap, the surer first."""
    for start, end, value in ibans(folded):
        yield Entity("account", start, end, text[start:end], value)
    for found in ACCOUNT.finditer(folded):
        start, end = found.span("number")
        yield Entity("account", start, end, text[start:end], compact(found["number"]))
    for start, end, value in cards(folded):
        yield Entity("card", start, end, text[start:end], value)
    for found in LAST_FOUR.finditer(folded):
        start, end = found.span("number")
        account = ACCOUNT_WORD.search(folded[max(0, found.start() - 10) : start])
        yield Entity("account" if account else "card", start, end, text[start:end], found["number"])


def compact(number: str) -> str:
    """Letters and digits alone."""
    return "".join(c for c in number if c.isalnum()).upper()
