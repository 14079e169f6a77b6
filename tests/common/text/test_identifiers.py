"""Identifiers by form and check digits. Cards and IBANs in disguise are tested with the masking that uses them."""

from __future__ import annotations

import pytest

from common.text.identifiers import MAIL, cards, fold, ibans, is_resident_id


def test_folding_keeps_the_length_and_makes_forms_plain() -> None:
    text = "Ｔｅｌ：１３８‑٠٠\u200b\u3000é"
    assert fold(text) == "Tel:138-00  é"
    assert len(fold(text)) == len(text)


@pytest.mark.parametrize("number", ["11010519491231002X", "11010519491231002x", "440524188001010014"])
def test_resident_numbers_with_their_check_character(number: str) -> None:
    assert is_resident_id(number)


@pytest.mark.parametrize("number", ["110105194912310021", "11010519491331002X", "1101051949123100", "x" * 18, ""])
def test_what_is_no_resident_number(number: str) -> None:
    assert not is_resident_id(number)


def test_places_are_those_of_the_text() -> None:
    text = "card 4111 1111 1111 1111, to gb82 west 1234 5698 7654 32 or a.b@c.org"
    (card,), (iban,) = cards(text), ibans(text)
    assert text[card[0] : card[1]] == "4111 1111 1111 1111"
    assert text[iban[0] : iban[1]] == "gb82 west 1234 5698 7654 32"
    found = MAIL.search(text)
    assert found
    assert found.group() == "a.b@c.org"
