"""What an utterance names: amounts, currencies, dates, accounts and cards, in English, Chinese or both at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from common.text.identifiers import fold
from finance.customer_service.dates import find_dates
from finance.customer_service.identifiers import find_identifiers
from finance.customer_service.money import find_money
from finance.customer_service.understood import Entity


def find(text: str, today: date) -> list[Entity]:
    """The entities of a text by their place; none overlaps another.

    Where two claim the same characters the surer wins: identifiers before dates before money, then the longer one.
    `Entity.start` and `end` count characters of `text` as it was given; full-width digits and odd dashes are read as
    the plain ones. `today` is the day of relative dates.
    """
    folded = fold(text)
    taken = bytearray(len(text))
    found = []
    for entity in _candidates(text, folded, today):
        if not any(taken[entity.start : entity.end]):
            taken[entity.start : entity.end] = b"\1" * (entity.end - entity.start)
            found.append(entity)
    return sorted(found, key=lambda entity: entity.start)


def _candidates(text: str, folded: str, today: date) -> Iterator[Entity]:
    yield from find_identifiers(text, folded)
    yield from sorted(find_dates(text, folded, today), key=lambda entity: entity.start - entity.end)
    yield from find_money(text, folded)
