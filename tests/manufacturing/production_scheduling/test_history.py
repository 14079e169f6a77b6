from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from learnt import config, parts

from common.errors import DataError, DatasetUnavailable, SchemaError
from manufacturing.production_scheduling.config import Plant
from manufacturing.production_scheduling.history import OPTIONAL, REQUIRED, load, read_history, split
from manufacturing.production_scheduling.plant import simulate
from manufacturing.production_scheduling.train import check_parts


def table(rows: int = 6) -> pd.DataFrame:
    start = pd.date_range("2026-01-05T06:00Z", periods=rows, freq="2h")
    return pd.DataFrame(
        {
            "job": [f"J{i}" for i in range(rows)],
            "operation": "1",
            "machine": "saw",
            "planned": 60,
            "start": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "end": (start + pd.Timedelta("75min")).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "family": "bolts",
            "quantity": "",
        }
    )


def written(tmp_path, frame: pd.DataFrame):
    frame.to_csv(tmp_path / "history.csv", index=False)
    return tmp_path / "history.csv"


def test_a_history_of_ones_own(tmp_path):
    found = read_history(written(tmp_path, table()))
    assert found.ratio.tolist() == [1.25] * 6
    assert not found.simulated
    assert np.isnan(found.quantity).all()
    assert found.operator.tolist() == [""] * 6
    assert set(found.family) == {"bolts"}


def test_time_worked_counts_where_it_is_told(tmp_path):
    found = read_history(written(tmp_path, table().assign(actual=[30, "", 30, 30, 30, 30])))
    assert found.ratio.tolist() == [0.5, 1.25, 0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("planned", "0", "planned: a bad cell in row 3: got '0', expected a number above 0"),
        ("planned", "", "planned: a bad cell in row 3: got nothing"),
        ("planned", "an hour", "got 'an hour'"),
        ("planned", "3600000", "planned: a planned time unlike the actual one in row 3"),
        ("quantity", "-2", "quantity: a bad cell in row 3: got '-2', expected a number from 0 or nothing"),
        ("quantity", "inf", "quantity: a bad cell in row 3"),
        ("start", "05.01.2026 10:00", "start: not a time in row 3"),
        ("start", "2026-01-05T10:00:00", "start: not a time in row 3"),
        ("end", "2026-01-05T10:00:00Z", "end: an end that is not after the start in row 3"),
        ("machine", " ", "machine: an empty cell in row 3"),
    ],
)
def test_a_bad_cell_is_named(tmp_path, column, value, told):
    frame = table().astype("str")
    frame.loc[2, column] = value
    with pytest.raises(DataError) as caught:
        read_history(written(tmp_path, frame))
    assert told in str(caught.value)


def test_other_mistakes_are_told(tmp_path):
    with pytest.raises(SchemaError, match="machine: missing column"):
        read_history(written(tmp_path, table().drop(columns="machine")))
    with pytest.raises(DataError, match="without rows"):
        read_history(written(tmp_path, table().head(0)))
    twice = pd.concat([table(), table().tail(1)])
    with pytest.raises(DataError, match="the operation of an earlier row in row 7"):
        read_history(written(tmp_path, twice))
    with pytest.raises(DatasetUnavailable, match="nowhere"):
        load(config().model_copy(update={"dataset": "nowhere.csv"}))
    (tmp_path / "latin.csv").write_bytes(",".join(REQUIRED).encode() + b"\n\xe9,1,1,1,1,1\n")
    with pytest.raises(DataError, match="not text in UTF-8"):
        read_history(tmp_path / "latin.csv")


def test_the_simulated_plant_as_a_file_is_the_same_history(tmp_path):
    made = simulate(Plant(weeks=4, orders=10), 3)
    names = [name for name in (*REQUIRED, *OPTIONAL) if name not in ("start", "end")]
    frame = pd.DataFrame({name: getattr(made, name) for name in names})
    for name in ("start", "end"):
        frame[name] = pd.to_datetime(getattr(made, name), unit="s", utc=True).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = read_history(written(tmp_path, frame))
    for name in ("machine", "ratio", "experience", "start", "end"):
        assert getattr(found, name).tolist() == getattr(made, name).tolist()


def test_the_plant_is_a_plant():
    made = simulate(Plant(weeks=8), 0)
    for machine in set(made.machine):
        rows = made.rows(made.machine == machine)
        rows = rows.rows(np.argsort(rows.start))
        assert (rows.start[1:] >= rows.end[:-1]).all(), "a machine does two things at once"
    for job in list(dict.fromkeys(made.job))[:200]:
        rows = made.rows(made.job == job)
        assert rows.operation.tolist() == [str(i + 1) for i in range(len(rows))]
        assert (rows.start[1:] >= rows.end[:-1]).all()
    log = np.log(made.ratio)
    skew = ((log - log.mean()) ** 3).mean() / log.std() ** 3
    assert skew > 0.3, "times are skewed to the right, even in logarithms"
    novice, worn = made.experience < 3, made.hours_since_maintenance > 100
    assert log[novice].mean() > log[made.experience > 24].mean() + 0.1
    assert log[worn].mean() > log[made.hours_since_maintenance < 40].mean() + 0.05
    again = simulate(Plant(weeks=8), 0)
    assert again.sha256 == made.sha256 != simulate(Plant(weeks=8), 1).sha256
    assert made.simulated
    assert "imulated" in made.title


def test_the_split_is_by_time():
    found = parts()
    check_parts(found)
    names = list(found)
    for before, after in pairwise(names):
        assert found[before].end.max() < found[after].start.min()
    late = found | {"train": found["test"]}
    with pytest.raises(DataError, match="does not end before"):
        check_parts(late)
    with pytest.raises(DataError, match="too few operations in the part"):
        split(found["test"], config())
