from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency

from common.config import build_config, settings
from common.errors import DatasetUnavailable
from finance.credit_scoring.config import PRESETS, Config
from finance.credit_scoring.data import age_band, load, to_columns
from finance.credit_scoring.fields import CreditField
from finance.credit_scoring.knowledge import SEX_CAVEAT
from finance.credit_scoring.simulator import SIMULATED_FIELDS, simulate


def test_simulated_applicants_are_within_what_their_fields_declare():
    frame = simulate(3000, seed=1)
    for field in SIMULATED_FIELDS:
        if field.formula:
            continue
        column = frame[field.name]
        assert column.isna().any() == field.optional, field.name
        if field.kind == "category":
            assert set(column) == set(field.levels)
        else:
            assert column.dropna().between(field.minimum, field.maximum).all(), field.name
            assert not field.integer or (column.dropna() % 1 == 0).all(), field.name
    assert (frame.loc[frame["delinquencies_2y"] == -1, "inquiries_6m"] == -1).all()
    assert 0.1 < frame["default"].mean() < 0.4
    assert frame["accepted"].mean() == pytest.approx(0.85, abs=0.01)
    assert frame["default"][~frame["accepted"]].mean() > frame["default"][frame["accepted"]].mean() + 0.1


def test_the_simulator_repeats_with_its_seed():
    assert simulate(500, 7).equals(simulate(500, 7))
    assert not simulate(500, 7).equals(simulate(500, 8))


def test_a_split_by_month_runs_forward_in_time(applicants):
    parts = applicants.split(seed=0)
    assert list(parts) == ["train", "valid", "test"]
    months = {name: part.month for name, part in parts.items()}
    assert months["train"].max() < months["valid"].min()
    assert months["valid"].max() < months["test"].min()
    assert sum(len(part.y) for part in parts.values()) == len(applicants.y)
    assert len(parts["train"].y) / len(applicants.y) == pytest.approx(0.6, abs=0.06)
    assert all(0 < part.y.mean() < 1 for part in parts.values())


def test_rows_keep_every_array_in_step(applicants):
    index = np.array([5, 900, 3])
    part = applicants.rows(index)
    assert part.row.tolist() == index.tolist()
    assert part.y.tolist() == applicants.y[index].tolist()
    assert part.amount.tolist() == part.frame["loan_amount"].tolist()
    assert part.month.tolist() == applicants.month[index].tolist()


def test_sensitive_fields_stay_out_unless_asked_for(applicants, config):
    assert not {"sex", "age"} & {field.name for field in applicants.fields}
    included = load(config.model_copy(update={"sensitive": "include"}))
    assert {"sex", "age"} <= {field.name for field in included.fields}
    assert "female" in applicants.sex  # the fairness report has them all the same


def test_columns_have_missing_as_nan_or_minus_one_and_derived_fields_computed():
    frame = simulate(300, seed=0)
    frame.loc[4, "housing"] = None
    columns = to_columns(frame, SIMULATED_FIELDS)
    codes, levels = columns["housing"]
    assert codes[4] == -1
    assert [levels[code] for code in codes[:4]] == frame["housing"][:4].tolist()
    assert np.isnan(columns["employment_years"]).sum() == frame["employment_years"].isna().sum() > 0
    expected = frame["loan_amount"] / frame["term_months"] / frame["income_monthly"]
    assert columns["payment_to_income"].tolist() == expected.tolist()


def test_age_bands_hold_their_lower_end():
    frame = simulate(6, 0)
    frame["age"] = [18, 24, 25, 40, 60, np.nan]
    assert age_band(frame, "age").tolist() == ["18-24", "18-24", "25-39", "40-59", "60 and over", "unknown"]


@pytest.mark.parametrize(
    ("dataset", "rows", "defaults"),
    [("credit-german", 1000, 300), ("credit-south-german", 1000, 300), ("credit-taiwan-default", 30000, 6636)],
)
@pytest.mark.usefixtures("real_data")
def test_published_data_load_with_fields_that_fit_every_row(dataset, rows, defaults):
    data = load(build_config(Config, PRESETS, "reference", [f"dataset={dataset}", "sensitive=include"]))
    assert (len(data.y), data.y.sum(), data.simulated) == (rows, defaults, False)
    for field in data.fields:
        if field.formula:
            continue
        column = data.frame[field.name]
        assert field.optional or not column.isna().any(), field.name
        if field.kind == "category":
            assert set(column.dropna()) <= set(field.levels), field.name
        elif field.minimum is not None:
            assert column.min() >= field.minimum, field.name
    columns = data.columns()
    assert set(columns) == {field.name for field in data.fields}
    assert (data.amount > 0).all()
    parts = data.split(seed=1)
    groups = [set(part.groups) for part in parts.values()]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]


@pytest.mark.usefixtures("real_data")
def test_default_is_bad_in_every_published_data_set():
    """The label is often inverted in copies: those with the longest delays must default more often."""
    taiwan = load(build_config(Config, PRESETS, "full", []))
    late = taiwan.frame["PAY_0"].to_numpy() >= 2
    assert taiwan.y[late].mean() > 0.6 > 0.2 > taiwan.y[~late].mean()
    german = load(build_config(Config, PRESETS, "reference", []))
    long = german.frame["duration_in_month"].to_numpy() > 36
    assert german.y[long].mean() > german.y[~long].mean()


def test_no_source_of_data_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    monkeypatch.setenv("ESPALIER_OFFLINE", "true")
    monkeypatch.delenv("ESPALIER_DATA_MIRROR", raising=False)
    settings.cache_clear()
    try:
        with pytest.raises(DatasetUnavailable, match="ESPALIER_DATA_MIRROR"):
            load(Config(dataset="credit-german"))
    finally:
        settings.cache_clear()


def test_the_rank_of_a_level_is_its_place():
    field = CreditField(name="x", label="", kind="category", levels=("low", "high"), ordered=True)
    assert (field.rank("low"), field.rank("high")) == (0.0, 1.0)


@pytest.mark.usefixtures("real_data")
def test_the_sex_column_of_the_german_copy_is_shuffled():
    """Matched to the corrected coding of the same people it tells nothing, while a sound column tells all."""
    german, south = load(Config(dataset="credit-german")), load(Config(dataset="credit-south-german"))
    keys = {"duration_in_month": "laufzeit", "credit_amount": "hoehe", "age_in_years": "alter"}
    pairs = german.frame.rename(columns=keys).merge(south.frame, on=list(keys.values()), validate="m:m")
    pairs = pairs.drop_duplicates(list(keys.values()), keep=False)
    assert len(pairs) > 900
    sex = pd.crosstab(pairs["personal_status_and_sex"], pairs["famges"])
    assert chi2_contingency(sex).pvalue > 0.01
    sound = pd.crosstab(pairs["telephone"], pairs["telef"])
    assert (sound.to_numpy() > 0).sum() == 2
    assert "credit-german" in SEX_CAVEAT
