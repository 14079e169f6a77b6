from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from common.data import all_cards, data_sha256, load_card
from common.errors import DataError, UsageError

CARD = """
id = "tiny"
title = "Tiny"
task = "test"
licence = "CC0"
redistributable = true
citation = "none"
rows = 3
target = "bad"
positive = 1
label_counts = { 0 = 2, 1 = 1 }

[[files]]
path = "tiny.csv"
url = "https://example.org/tiny.csv"
sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
bytes = 0

[[columns]]
name = "job"
kind = "category"
values = { 1 = "skilled", 2 = "other" }

[[columns]]
name = "bad"
kind = "target"
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A cloned project with one data set of its own, and a subfolder as working folder."""
    card = tmp_path / "project" / "datasets" / "tiny" / "card.toml"
    card.parent.mkdir(parents=True)
    card.write_text(CARD)
    (tmp_path / "project" / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "project" / "notebooks")
    return card


def test_the_cards_of_a_project_and_of_this_checkout_are_found(project):
    ids = [card.id for card in all_cards()]
    assert {"credit-german", "credit-south-german", "credit-taiwan-default", "tiny"} <= set(ids)
    assert ids == sorted(ids)
    assert load_card("tiny") == load_card(str(project))


def test_codes_are_integers_when_all_are(project):
    assert load_card("tiny").column("job").codes == (1, 2)
    assert load_card("credit-german").column("telephone").codes == ("yes, registered under the customers name", "none")


def test_an_unknown_id_lists_the_known_ones():
    known = r"got 'germany', expected one of breast-cancer-wisconsin, .*credit-german, credit-south-german"
    with pytest.raises(UsageError, match=known):
        load_card("germany")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("rows = 3", "rows = 4", "label_counts add up to 3, rows say 4"),
        ("rows = 3", 'rows = "many"', "card.toml: rows: malformed card: got 'many'"),
        ("rows = 3", "rows = 3\nowner = 1", "card.toml: owner: malformed card"),
        ("positive = 1", "positive = 2", "positive 2 is not in label_counts"),
        ('name = "bad"', 'name = "worse"', "bad is not among the columns"),
        ('kind = "target"', 'kind = "number"', "kind target"),
        ('path = "tiny.csv"', 'path = "../tiny.csv"', "files.0.path: malformed card: got '../tiny.csv'"),
        ('sha256 = "e3', 'sha256 = "E3', "files.0.sha256"),
        ('id = "tiny"', 'id = "other"', "id: malformed card: got 'other', expected the name of its folder"),
        ("rows = 3", "rows = ", "not a TOML file"),
    ],
)
def test_a_malformed_card_is_one_sentence_with_file_and_field(project, old, new, sentence):
    project.write_text(CARD.replace(old, new))
    with pytest.raises(DataError) as error:
        load_card("tiny")
    assert sentence in str(error.value)
    assert "tiny/card.toml" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_fingerprint_follows_every_file(project):
    before = data_sha256(load_card("tiny"))
    project.write_text(CARD.replace('"e3b0', '"f3b0'))
    assert data_sha256(load_card("tiny")) != before


@pytest.mark.parametrize("card", all_cards(), ids=lambda card: card.id)
def test_every_card_is_complete(card):
    others = [c for c in card.columns if c.kind == "other" or c.name in (card.group, card.time)]
    if card.columns:
        assert len(card.features) == len(card.columns) - 1 - (card.identifier is not None) - len(others)
    assert card.pitfalls
    assert all(column.description for column in card.columns)
    assert all(column.values for column in card.columns if column.kind == "category")
    assert all("/master/" not in file.url and "/main/" not in file.url for file in card.files)
    rows = [(row.model, row.metric, row.protocol) for row in card.published]
    assert len(set(rows)) == len(rows)
    assert all(0 < row.value < 1 for row in card.published if row.metric in {"auc", "ks", "brier"})


def test_listing_cards_imports_nothing_heavy():
    code = "import sys; from common.data import all_cards; all_cards(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pandas", "pooch", "requests", "sklearn"} & set(done.stdout.split())
