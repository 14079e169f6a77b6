"""Surrogates: consistent for a patient, of the same kind and script, and nobody's."""

from __future__ import annotations

import re

import pytest

from common.text.identifiers import cards, is_resident_id
from healthcare.medical_records.deid.identifiers import Identifier, Kind
from healthcare.medical_records.deid.simulator import simulate, tables
from healthcare.medical_records.deid.surrogates import Surrogates

KEY = b"0123456789abcdef"


def made(kind: Kind, text: str, patient: str = "p1", key: bytes = KEY) -> str:
    new = Surrogates(key, patient).of(Identifier(kind, 0, len(text), text))
    assert new is not None
    return new


def test_the_same_name_the_same_surrogate_in_any_form() -> None:
    full = made("name", "John Smith").split()
    assert made("name", "SMITH") == full[1].upper()
    assert made("name", "Smith, John") == f"{full[1]}, {full[0]}"
    assert made("name", "John R. Smith").split()[::2] == full
    assert made("name", "John Smith") != made("name", "John Smith", patient="p2")
    assert made("name", "John Smith") != made("name", "John Smith", key=b"fedcba9876543210")


def test_gender_and_script_stay() -> None:
    names = tables()[0]
    for name in ("Mary", "Susan", "Karen"):
        assert made("name", name) in names["en"]["female"].split()
    for name in ("James", "Robert"):
        assert made("name", name) in names["en"]["male"].split()
    new = made("name", "王芳娜")
    assert new[0] in names["zh"]["last"]
    assert new[0] != "王"
    assert set(new[1:]) <= set(names["zh"]["female"])
    assert len(made("name", "欧阳娜娜")) == 4


def test_two_names_of_the_list_stay_two() -> None:
    first = [name for name in tables()[0]["en"]["female"].split() if name.isalpha()][:60]
    assert len({made("name", name) for name in first}) > 40


@pytest.mark.parametrize(
    ("kind", "text", "form"),
    [
        ("mrn", "AB-123456", r"[A-Z]{2}-\d{6}"),
        ("national_id", "078-05-1120", r"000-\d\d-\d{4}"),
        ("phone", "(617) 867-5309", r"\(\d{3}\) 555-\d{4}"),
        ("phone", "13812345678", r"10\d{9}"),
        ("email", "a@b.com", r"user\d+@example\.org"),
        ("url", "https://a.b/c", r"https://example\.org/\d+"),
        ("ip", "10.1.2.3", r"192\.0\.2\.\d+"),
        ("ip", "fe80::1:2", r"2001:db8::[0-9a-f]+"),
        ("photo", "IMG_1.jpg", r"picture\d+\.jpg"),
        ("vehicle", "京A·12345", r"京[A-Z]·\d{5}"),
        ("location", "12 Oak Street, Apt 4, Boston, MA 02139", r"\d\d \w+ Street, Apt \d, \w+, MA \d{5}"),
        ("organization", "北京协和医院", r"[\u4e00-\u9fff]+医院"),
        ("age", "93", r"90\+"),
    ],
)
def test_forms(kind: Kind, text: str, form: str) -> None:
    new = made(kind, text)
    assert re.fullmatch(form, new)
    assert new != text


def test_a_resident_number_is_well_formed_and_of_no_area() -> None:
    new = made("national_id", "11010519491231002X")
    assert new.startswith("999999")
    assert len(new) == 18
    assert not is_resident_id("11010519491231002X"[:17] + "0")


def test_nothing_of_a_simulated_identifier_stays_in_its_surrogate() -> None:
    for one in simulate(3, 3, part="train"):
        for it in one.identifiers:
            if it.kind in ("name", "mrn", "national_id", "phone", "email", "plan", "account", "device"):
                assert Surrogates(KEY, "p").of(it) != it.text


def test_a_card_is_no_valid_card_by_chance_alone() -> None:
    assert list(cards(made("account", "4111 1111 1111 1111"))) == []
