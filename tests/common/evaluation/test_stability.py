from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from common.errors import DataError
from common.evaluation.stability import psi, reference_histogram, stability_table, verdict

GENERATOR = np.random.default_rng(0)
NORMAL = GENERATOR.normal(size=2000)
LETTERS = GENERATOR.choice(np.array(["a", "b", "c", None]), 2000, p=[0.5, 0.3, 0.15, 0.05])


@pytest.mark.parametrize(
    "values",
    [NORMAL, LETTERS, np.where(NORMAL > 1, np.nan, NORMAL), NORMAL > 0, np.full(50, 7), pd.Categorical(LETTERS)],
    ids=["numbers", "text", "missing", "booleans", "constant", "categorical"],
)
def test_nothing_moved(values: np.ndarray) -> None:
    reference = json.loads(json.dumps(reference_histogram(values)))
    assert psi(reference, values) == pytest.approx(0, abs=1e-12)
    assert sum(reference["shares"]) + reference["missing"] == pytest.approx(1)


def test_strong_shifts_show() -> None:
    assert psi(reference_histogram(NORMAL), NORMAL + 1) > 0.25
    assert psi(reference_histogram(LETTERS), np.where(LETTERS == "a", "c", LETTERS)) > 0.25
    assert psi(reference_histogram(NORMAL), np.where(NORMAL > 0, np.nan, NORMAL)) > 0.25
    assert psi(reference_histogram(np.full(50, 7)), np.full(50, 6)) > 0.25
    assert psi(reference_histogram(LETTERS), np.full(100, "never seen")) > 0.25


def test_by_hand() -> None:
    reference = reference_histogram(["x"] * 50 + ["y"] * 50)
    # (.8 - .5) ln(.8/.5) + (.2 - .5) ln(.2/.5); "others" and missing are empty on both sides
    assert psi(reference, ["x"] * 80 + ["y"] * 20) == pytest.approx(0.3 * np.log(1.6) + 0.3 * np.log(2.5))


def test_numbers_have_bins_of_equal_frequency() -> None:
    reference = reference_histogram(NORMAL, bins=10)
    assert len(reference["edges"]) == 9
    assert reference["shares"] == pytest.approx([0.1] * 10)


def test_integers_and_floats_are_the_same_level() -> None:
    assert psi(reference_histogram([1, 2, 2]), [1.0, 2.0, 2.0]) == pytest.approx(0)


def test_rare_levels_are_counted_together() -> None:
    reference = reference_histogram([f"id-{row}" for row in range(1000)])
    assert len(reference["levels"]) == 20
    assert reference["shares"][-1] == pytest.approx(0.98)


def test_table_per_period() -> None:
    frame = pd.DataFrame({"amount": NORMAL, "letter": LETTERS, "month": np.repeat(["2024-02", "2024-01"], 1000)})
    reference = {field: reference_histogram(frame[field]) for field in ("amount", "letter")}
    later = frame.assign(amount=np.where(frame["month"] == "2024-02", NORMAL + 2, NORMAL))
    table = stability_table(reference, later, by="month")
    assert list(table["period"]) == ["2024-01", "2024-02"] * 2
    assert list(table["n"]) == [1000] * 4
    assert list(table["verdict"]) == ["stable", "shifted", "stable", "stable"]
    whole = stability_table(reference, frame)
    assert list(whole["field"]) == ["amount", "letter"]
    assert whole["psi"].max() == pytest.approx(0, abs=1e-12)


def test_a_field_that_is_gone_has_shifted() -> None:
    table = stability_table({"amount": reference_histogram(NORMAL)}, pd.DataFrame({"other": [1, 2]}))
    assert list(table["verdict"]) == ["shifted"]


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        psi(reference_histogram(NORMAL), [])


def test_verdicts() -> None:
    assert [verdict(value) for value in (0.0, 0.1, 0.25, 0.26)] == ["stable", "moving", "moving", "shifted"]
