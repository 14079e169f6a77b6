"""Numbers that belong to somebody: cards, accounts and IBANs, found by form, check digits and the words before."""

from __future__ import annotations

import re
from collections.abc import Iterator

from common.text.identifiers import cards, ibans
from finance.customer_service.understood import Entity

LAST_FOUR = re.compile(
    r"(?:\b(?:card|account|acct|a/c|number|one)\b.{0,8}\bend(?:ing|s)(?: (?:in|with))?|\bend(?:ing|s)? (?:in|with)"
    r"|\blast (?:four|4)(?: digits)?(?: (?:are|is|of))?|[x*•]{4}"
    r"|(?:尾号|[末后][四4]位)(?:数字)?[是为]?)[\s:#-]{0,3}(?P<number>\d{4})(?![\d年])",
    re.IGNORECASE | re.ASCII,
)
ACCOUNT = re.compile(
    r"(?:\b(?:account|acct|a/c)\b[\s:#.]{0,3}(?:(?:number|num|nr|no)\b\.?)?|[账帐][号户](?:号码)?)"
    r"[\s:#.]{0,3}(?:(?:is|=|是|为)[\s:]{0,2})?(?P<number>[A-Z]{0,2}\d(?:[ -]?\d){5,19})(?![ -]?\d)",
    re.IGNORECASE | re.ASCII,
)
ACCOUNT_WORD = re.compile(r"(?:account|acct|a/c|[账帐][号户])", re.IGNORECASE)


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
