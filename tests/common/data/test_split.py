from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import RepeatedStratifiedKFold

from common.data.split import check_split, group_of_duplicates, repeated_cv, stratified_split
from common.errors import AuditError

WIDE = [f"x{i}" for i in range(10)]


@pytest.fixture
def parts() -> dict[str, pd.DataFrame]:
    """Three parts of a wide table in time order, each group in one part."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(600, 10)), columns=WIDE)
    table["client"] = np.arange(600) // 2
    table["day"] = np.arange(600) // 10
    table["bad"] = rng.integers(0, 2, 600)
    return {"train": table[:360], "valid": table[360:480], "test": table[480:]}


def check(parts):
    check_split(parts, features=WIDE, target="bad", group="client", time="day")


def test_a_sound_split_passes(parts):
    check(parts)


def test_shared_groups_are_refused(parts):
    parts["test"] = parts["test"].assign(client=parts["test"]["client"].replace({250: 3}))
    with pytest.raises(AuditError, match="client: train and test share groups: got 1 in both, for example 3"):
        check(parts)


def test_training_must_end_before_the_others_begin(parts):
    parts["valid"] = parts["valid"].assign(day=parts["valid"]["day"] - 1)
    with pytest.raises(
        AuditError, match="day: train does not end before valid begins: got train until 35, valid from 35"
    ):
        check(parts)


def test_equal_rows_on_two_sides_are_refused(parts):
    parts["test"] = parts["test"].copy()
    parts["test"].loc[480, WIDE] = parts["valid"].loc[360, WIDE]
    with pytest.raises(AuditError, match="2 equal rows stand on two sides of the split, for example in valid and test"):
        check(parts)


def test_nearly_equal_rows_on_two_sides_are_refused(parts):
    parts["test"] = parts["test"].copy()
    parts["test"].loc[480, WIDE] = (parts["train"].loc[7, WIDE].astype(float) * 1000).round(0) / 1000 * (1 + 1e-9)
    parts["train"] = parts["train"].copy()
    parts["train"].loc[7, WIDE] = parts["test"].loc[480, WIDE] * (1 + 1e-7)
    with pytest.raises(AuditError, match="2 nearly equal rows"):
        check(parts)


def test_a_small_table_of_codes_may_nearly_agree():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"amount": 1000.0 + np.arange(300) / 10, "job": rng.choice(["a", "b"], 300)})
    check_split({"train": table[::2], "test": table[1::2]}, features=["amount", "job"])


def test_missing_cells_count_as_equal():
    table = pd.DataFrame({"amount": [1.0, np.nan], "job": ["a", None]})
    with pytest.raises(AuditError, match="equal rows"):
        check_split({"train": table, "test": table[1:]}, features=["amount", "job"])


def test_a_column_that_gives_the_label_away_is_refused(parts):
    parts = {name: frame.assign(x3=frame["bad"] + frame["x3"] / 100) for name, frame in parts.items()}
    with pytest.raises(AuditError, match=r"x3: this column alone gives the label away: got AUC 1.000"):
        check(parts)


def test_duplicates_share_a_number_and_near_ones_on_request():
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 10)), columns=WIDE)
    table = pd.concat([table, table[:1], table[1:2] * (1 + 1e-9)], ignore_index=True)
    assert group_of_duplicates(table, WIDE)[[0, 1, 200, 201]].tolist() == [0, 1, 0, 200]
    assert group_of_duplicates(table, WIDE, near=True)[[0, 1, 200, 201]].tolist() == [0, 1, 0, 1]


def test_stratified_split_keeps_shares_and_groups():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 700, 1000)
    y = (groups % 3 == 0).astype(int)
    split = stratified_split(y, groups, {"train": 0.6, "valid": 0.2, "test": 0.2}, seed=1)
    assert sorted(np.concatenate(list(split.values()))) == list(range(1000))
    assert [len(rows) for rows in split.values()] == pytest.approx([600, 200, 200], abs=5)
    assert [y[rows].mean() for rows in split.values()] == pytest.approx([y.mean()] * 3, abs=0.02)
    assert sum(len(set(groups[rows])) for rows in split.values()) == len(set(groups))
    again = stratified_split(y, groups, {"train": 0.6, "valid": 0.2, "test": 0.2}, seed=1)
    assert all(np.array_equal(split[name], again[name]) for name in split)
    assert not np.array_equal(split["test"], stratified_split(y, groups, {"train": 0.8, "test": 0.2}, seed=2)["test"])


def test_fractions_must_add_up():
    with pytest.raises(ValueError, match="add up to"):
        stratified_split(np.zeros(9), None, {"train": 0.6, "test": 0.2}, seed=0)


@pytest.mark.parametrize("groups", [None, np.arange(200)[::-1]], ids=["none", "singletons"])
def test_without_repeated_groups_the_folds_are_scikit_learns(groups):
    y = np.arange(200) % 3 == 0
    theirs = list(RepeatedStratifiedKFold(n_splits=2, n_repeats=5, random_state=7).split(y, y))
    ours = list(repeated_cv(y, groups, folds=2, repeats=5, seed=7))
    assert [repeat for repeat, _, _ in ours] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    for (train, test), (_, our_train, our_test) in zip(theirs, ours, strict=True):
        assert np.array_equal(train, our_train)
        assert np.array_equal(test, our_test)


def test_folds_keep_groups_together():
    groups = np.random.default_rng(0).integers(0, 120, 200)
    y = groups % 2
    for _, train, test in repeated_cv(y, groups, folds=5, repeats=2, seed=0):
        assert not set(groups[train]) & set(groups[test])
        assert len(train) + len(test) == 200
