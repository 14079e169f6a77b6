"""Numbers and addresses that identify somebody, in any text: found by form and check digits.

Every pattern is for text folded by `fold`, which keeps the length: places found there are places of the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

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

DIGITS = re.compile(r"\d(?:[ -]{0,3}\d){12,}")
LONGEST = 64
"""Digits of a run that is searched for cards; in a longer one every few would make one by chance."""
IBAN = re.compile(r"(?<![A-Z0-9])[A-Z]{2}[ -]?\d[ -]?\d(?:[ -]?[A-Z0-9]){11,30}", re.IGNORECASE | re.ASCII)
MAIL = re.compile(
    r"[A-Z0-9._%+-]{1,64} ?(?:@|[(\[] ?at ?[)\]]) ?(?:[A-Z0-9-]{1,63} ?(?:\.|[(\[] ?dot ?[)\]]) ?){1,6}[A-Z]{2,24}",
    re.IGNORECASE | re.ASCII,
)
SPELT = re.compile(r"\b[A-Z0-9._%+-]{1,64} at (?:[A-Z0-9-]{1,63} dot ){1,4}[A-Z]{2,24}\b", re.IGNORECASE | re.ASCII)
SSN = re.compile(r"(?<!\d)\d{3}[- ]\d{2}[- ]\d{4}(?!\d)")
RESIDENT = re.compile(r"[1-9]\d{5}(?:18|19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dX]")


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


def is_resident_id(text: str) -> bool:
    """Whether 18 characters are a Chinese resident identity number: its form, and the check character of ISO 7064."""
    if not RESIDENT.fullmatch(text.upper()):
        return False
    total = sum(int(c) * pow(2, 17 - i, 11) for i, c in enumerate(text[:17]))
    return "10X98765432"[total % 11] == text[17].upper()
