"""Values of slots: read from what a customer says, checked, and shown as a person writes them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import date
from decimal import Decimal, InvalidOperation

from finance.customer_service.nodes import Kind, Slot
from finance.customer_service.understood import Entity, Language

NOT = re.compile(r"(\bnot|\binstead of|\brather than|不是|而不是|不要)\s*[€$£¥]?\s*$", re.IGNORECASE)
LETTER = re.compile(r"[^\W\d_]")
LEAST_TEXT = 8  # characters of a free text; Chinese ones count twice
MOST_TEXT = 1000


def plain(text: str) -> str:
    """Full-width digits and letters as usual ones, lower case, without marks at the ends."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return folded.strip(" \t\n\r.,!?;:。，！？；：…~")


def read(slot: Slot, text: str, entities: Sequence[Entity], language: Language, *, asked: bool) -> str | None:
    """The value of a slot in a message, or None.

    What the finder of entities has found comes first; what a message denies ("not 50 but 500") is left out. When the
    slot was asked for, a bare answer counts too: digits for an account, a card or a code, a number for an amount.
    """
    if slot.kind == "choice":
        return _choice(slot, text, language)
    if slot.kind == "text":
        long_enough = sum(1 + (ord(char) > 0x2E7F) for char in text if char.isalnum()) >= LEAST_TEXT
        return text.strip()[:MOST_TEXT] if asked and long_enough else None
    if slot.kind != "code":
        found = [one for one in entities if one.kind == slot.kind]
        kept = [one for one in found if not NOT.search(text[: one.start])]
        if found:
            one = (kept or found)[0]
            return f"{one.value} {_currency(one, entities)}".strip() if slot.kind == "amount" else one.value
    if not asked:
        return None
    if LETTER.search(text):  # a number among words may be something else's
        for one in (one for one in entities if one.kind != "amount"):
            text = text[: one.start] + " " * (one.end - one.start) + text[one.end :]
    return _bare(slot, unicodedata.normalize("NFKC", text))


def _currency(amount: Entity, entities: Sequence[Entity]) -> str:
    """The currency that stands beside an amount; empty: none, so that of the account."""
    beside = (one for one in entities if one.kind == "currency")
    return next(
        (one.value for one in beside if -2 <= one.start - amount.end <= 2 or 0 <= amount.start - one.end <= 2), ""
    )


def _choice(slot: Slot, text: str, language: Language) -> str | None:
    said = plain(text)
    for name, words in slot.choices.items():
        for word in (*words.en, *words.zh):
            if (
                said == word
                or (language == "en" and re.search(rf"\b{re.escape(word)}\b", said))
                or (language == "zh" and word in said)
            ):
                return name
    return None


def _bare(slot: Slot, text: str) -> str | None:
    numbers = ["".join(re.findall(r"\d", run)) for run in re.findall(r"\d(?:[ -]?\d)*", text)]
    match slot.kind:
        case "account":
            return next((number for number in numbers if 8 <= len(number) <= 18), None)
        case "card":
            return next((number for number in numbers if len(number) == 4 or 13 <= len(number) <= 19), None)
        case "code":
            return next((number for number in numbers if len(number) == slot.digits), None)
        case "amount":
            found = re.search(r"\d+(?:,\d{3})*(?:\.\d{1,2})?", text)
            return found[0].replace(",", "") if found else None
        case "date":
            found = re.search(r"\b(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})", text)
            try:
                return date(*(int(part) for part in found.groups())).isoformat() if found else None
            except ValueError:
                return None
        case "currency":
            found = re.fullmatch(r"\W*([A-Z]{3})\W*", text)
            return found[1] if found else None
    return None


def fault(slot: Slot, value: str, today: date) -> str:
    """Which phrase says what is wrong with a value; empty: nothing."""
    if slot.kind == "amount":
        try:
            amount = Decimal(value.partition(" ")[0])
        except InvalidOperation:
            return "out_of_range"
        return "" if Decimal(str(slot.least)) <= amount <= Decimal(str(slot.most)) else "out_of_range"
    if slot.kind == "date" and slot.when != "any":
        day = date.fromisoformat(value)
        if slot.when == "past" and day > today:
            return "not_past"
        if slot.when == "future" and day < today:
            return "not_future"
    return ""


def shown(kind: Kind, value: str, language: Language) -> str:
    """A value in a sentence: cards and accounts by their last four digits, amounts with separators, dates in words."""
    if kind == "card":
        return f"•• {value[-4:]}" if language == "en" else f"尾号{value[-4:]}"
    if kind == "account":
        return f"•••• {value[-4:]}" if language == "en" else f"尾号{value[-4:]}"
    if kind == "amount":
        amount, _, currency = value.partition(" ")
        return f"{Decimal(amount):,.2f} {currency}".strip()
    if kind == "date":
        day = date.fromisoformat(value)
        return f"{day.day} {day:%B %Y}" if language == "en" else f"{day.year}年{day.month}月{day.day}日"
    if kind == "code":
        return "•" * len(value)
    return value
