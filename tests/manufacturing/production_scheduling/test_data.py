from __future__ import annotations

import pytest

from common.errors import DatasetUnavailable
from manufacturing.production_scheduling.data import (
    BRANDIMARTE,
    CLASSIC,
    TAILLARD,
    bounds,
    generate,
    instances,
    load,
)
from manufacturing.production_scheduling.readers import write_standard


def test_all_published_instances_can_be_read(real_data):
    assert {dataset: len(instances(dataset)) for dataset in (CLASSIC, BRANDIMARTE)} == {CLASSIC: 58, BRANDIMARTE: 15}
    for dataset in (CLASSIC, BRANDIMARTE):
        known = bounds(dataset)
        for name in instances(dataset):
            low, high = known[name]
            assert low <= high
            assert load(dataset, name).size > 0


def test_the_generator_makes_taillards_instances(real_data):
    names = instances(TAILLARD)
    assert names == [f"ta{number:02}" for number in range(1, 81)]
    # `load` compares each with its sha256.
    assert load(TAILLARD, "ta01").size == 225
    assert load(TAILLARD, "ta80").size == 2000
    assert bounds(TAILLARD) == {}


def test_the_generator_needs_no_file():
    one = generate(3, 2, 840612802, 398197754)
    assert write_standard(one).splitlines()[0] == "3 2"
    assert {tuple(sorted(next(iter(step.durations)) for step in job.operations)) for job in one.jobs} == {("M0", "M1")}
    assert generate(3, 2, 840612802, 398197754) == one != generate(3, 2, 1, 398197754)


def test_unknown_names(real_data):
    with pytest.raises(DatasetUnavailable, match="ta01 to ta80"):
        load(TAILLARD, "ta81")
    with pytest.raises(DatasetUnavailable, match="no such instance"):
        load(CLASSIC, "zz1")
    with pytest.raises(DatasetUnavailable, match="path of an instance file"):
        load("nowhere.txt")
