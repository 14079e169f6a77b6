from __future__ import annotations

import pytest

from common.data import fetch, load_card
from common.data.audit import audit
from common.data.schema import check_schema
from common.data.split import check_split, group_of_duplicates, stratified_split
from common.data.table import labels, read_table
from common.errors import AuditError

pytestmark = pytest.mark.usefixtures("real_data")
THREE = {"train": 0.6, "valid": 0.2, "test": 0.2}


def load(name):
    card = load_card(name)
    return read_table(card, fetch(card)), card


@pytest.mark.parametrize(
    ("name", "shape", "events"),
    [
        ("credit-german", (1000, 21), 300),
        ("credit-south-german", (1000, 21), 300),
        ("credit-taiwan-default", (30000, 25), 6636),
    ],
)
def test_the_file_is_what_its_card_says(name, shape, events):
    frame, card = load(name)
    check_schema(frame, card)
    audit(frame, card).raise_on_error()
    assert frame.shape == shape
    assert labels(frame, card).sum() == events


def test_taiwan_s_flaws_are_named():
    text = " ".join(finding.sentence for finding in audit(*load("credit-taiwan-default")).findings)
    for flaw in (
        "35 duplicate rows when ID is left out",
        "EDUCATION has codes without a documented meaning: 0 (14), 5 (280), 6 (51)",
        "MARRIAGE has codes without a documented meaning: 0 (54)",
        "PAY_0 has codes without a documented meaning: -2 (2,759), 0 (14,737)",
        "AGE has 2 missing cells",
        "Sensitive attributes: SEX, AGE, MARRIAGE, EDUCATION",
    ):
        assert flaw in text


def test_an_inverted_copy_of_taiwan_is_caught():
    frame, card = load("credit-taiwan-default")
    frame[card.target] = 1 - frame[card.target]
    with pytest.raises(AuditError, match="looks inverted"):
        audit(frame, card).raise_on_error()


def test_german_and_south_german_read_as_each_other_are_caught():
    """Same people, inverted label: the usual mix-up."""
    south, _ = load("credit-south-german")
    german, card = load("credit-german")
    german[card.target] = south["kredit"].map({0: "good", 1: "bad"})
    with pytest.raises(AuditError, match="looks inverted"):
        audit(german, card).raise_on_error()


def test_taiwan_split_by_rows_leaks_and_by_duplicates_does_not():
    frame, card = load("credit-taiwan-default")
    y = labels(frame, card)

    def parts(groups):
        split = stratified_split(y, groups, THREE, seed=0)
        return {name: frame.iloc[rows] for name, rows in split.items()}

    with pytest.raises(AuditError, match="equal rows stand on two sides"):
        check_split(parts(None), features=card.features, target=card.target)
    check_split(parts(group_of_duplicates(frame, card.features)), features=card.features, target=card.target)
