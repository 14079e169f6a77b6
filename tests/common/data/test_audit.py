from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from common.data.audit import audit
from common.errors import AuditError


def sentences(frame, card, check):
    return [(f.level, f.sentence) for f in audit(frame, card).findings if f.check == check]


def with_column(card, **column):
    """The card with one more column."""
    return type(card).model_validate({**card.model_dump(), "columns": [*card.model_dump()["columns"], column]})


def test_a_sound_table_has_no_findings(applicants):
    report = audit(*applicants)
    assert report.findings == ()
    report.raise_on_error()


def test_an_inverted_label_is_caught_and_named(applicants):
    frame, card = applicants
    frame["bad"] = 1 - frame["bad"]
    with pytest.raises(AuditError, match=r"labels of bad are 0 \(100\), 1 \(300\).*looks inverted"):
        audit(frame, card).raise_on_error()


def test_an_inverted_label_is_named_in_a_part_of_the_rows_too(applicants):
    frame, card = applicants
    part = frame.assign(bad=1 - frame["bad"]).sample(200, random_state=0)
    assert "looks inverted" in sentences(part, card, "labels")[0][1]
    assert "looks inverted" not in sentences(frame.sample(200, random_state=0), card, "labels")[0][1]
    assert sentences(part, card, "rows") == [("error", "The table has 200 rows, the card says 400.")]


def test_a_label_in_other_words_is_caught(applicants):
    frame, card = applicants
    frame["bad"] = np.where(frame["bad"] == 1, "bad", "good")
    assert sentences(frame, card, "labels")[0][0] == "error"


@pytest.mark.parametrize(
    "leak",
    [
        lambda bad, rng: bad * 3.0 + rng.random(400),
        lambda bad, rng: -bad + 0.9 * rng.random(400),
        lambda bad, rng: np.where(bad == 1, 50, rng.choice([10, 90], 400)) + rng.random(400),
        lambda bad, rng: np.where(bad == 1, rng.random(400), np.nan),
    ],
    ids=["rising", "falling", "in the middle", "filled in only when bad"],
)
def test_a_number_that_gives_the_label_away_is_an_error(applicants, leak):
    frame, card = applicants
    frame["late_fee"] = leak(frame["bad"].to_numpy(), np.random.default_rng(1))
    report = audit(frame, with_column(card, name="late_fee", kind="number", missing=True))
    with pytest.raises(AuditError, match="Column late_fee alone gives bad away"):
        report.raise_on_error()


def test_a_category_that_gives_the_label_away_is_an_error(applicants):
    frame, card = applicants
    frame["desk"] = np.where(frame["bad"] == 1, "collections", np.random.default_rng(1).choice(["a", "b"], 400))
    levels = ["collections", "a", "b"]
    report = audit(frame, with_column(card, name="desk", kind="category", values=levels))
    assert [f.check for f in report.errors] == ["leak"]


def test_unique_names_are_no_leak(applicants):
    frame, card = applicants
    frame["name"] = [f"person {i}" for i in range(400)]
    assert audit(frame, with_column(card, name="name", kind="category")).errors == []


def test_duplicates_and_conflicting_labels_are_counted_without_the_id(applicants):
    frame, card = applicants
    frame.loc[[1, 2], ["income", "job", "bad"]] = frame.loc[3, ["income", "job", "bad"]].to_numpy()
    frame.loc[4, ["income", "job"]] = frame.loc[5, ["income", "job"]].to_numpy()
    assert "2 duplicate rows when id is left out" in sentences(frame, card, "duplicates")[0][1]
    assert sentences(frame, card, "conflicts") == [
        ("warning", "1 group of rows has equal features but different labels.")
    ]


def test_undocumented_codes_missing_cells_and_constants_are_named(applicants):
    frame, card = applicants
    frame["job"] = pd.Series(frame["job"]).where(frame.index > 2, 7)
    frame.loc[:4, "income"] = np.nan
    assert "Column job has codes without a documented meaning: 7 (3)." in sentences(frame, card, "undocumented")[0][1]
    assert sentences(frame, card, "missing") == [
        ("warning", "Column income has 5 missing cells, the card allows none.")
    ]
    assert sentences(frame.assign(income=1.0), card, "constant") == [
        ("warning", "Column income has the same value in every row.")
    ]
