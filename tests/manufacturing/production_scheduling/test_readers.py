from __future__ import annotations

import pytest
from plants import plant

from common.errors import DataError
from manufacturing.production_scheduling.readers import parse, read, write_standard

STANDARD = "# two jobs\n2 3\n0 5 1 4 2 3\n2 1 0 2 1 6\n"
TAILLARD = "Nb of jobs, Nb of Machines\n2 3 0 0\nTimes\n5 4 3\n1 2 6\nMachines\n1 2 3\n3 1 2\n"
FJSP = "2 3 1.5\n2 1 1 5 2 2 4 3 6\n1 1 3 7\n"


def test_standard_and_taillard_tell_the_same():
    one, two = parse(STANDARD), parse(TAILLARD)
    durations = [[list(step.durations.values()) for step in job.operations] for job in one.jobs]
    assert durations == [[[5], [4], [3]], [[1], [2], [6]]]
    assert durations == [[list(step.durations.values()) for step in job.operations] for job in two.jobs]
    assert [list(step.durations) for step in one.jobs[1].operations] == [["M2"], ["M0"], ["M1"]]
    assert [list(step.durations) for step in two.jobs[1].operations] == [["M3"], ["M1"], ["M2"]]
    assert parse(write_standard(one)).jobs == one.jobs


def test_fjsp_has_alternatives():
    job = parse(FJSP).jobs[0]
    assert [step.durations for step in job.operations] == [{"M1": 5}, {"M2": 4, "M3": 6}]


def test_json(tmp_path):
    path = tmp_path / "plant.json"
    path.write_text(plant(2).model_dump_json())
    assert read(path) == plant(2)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the file is empty"),
        ("2 3\n0 5 1 4 2 3\n", "ends after line 2: got 1 of 2 jobs"),
        ("2 3\n0 5 1 4 2 3\n2 1 0", "line 3: job 2 has 3 numbers, expected 6"),
        (STANDARD + "7 7\n", "line 5: '7 7' follows the last of the 2 jobs"),
        (STANDARD.replace("4", "x"), "line 3: 'x' is not a whole number"),
        (STANDARD.replace("2 3\n2", "9 3\n2"), "line 3: job 1 needs machine 9, which does not exist; there are 0 to 2"),
        (STANDARD.replace("1 4", "1 0"), "job 'J1', operation '2': the duration on machine 'M1' is 0"),
        (STANDARD.replace("1 4", "1 -4"), "is -4"),
        (TAILLARD.replace("Machines", "Orders"), "got the headings times, orders, expected Times, then Machines"),
        (TAILLARD.replace("1 2 6\n", ""), "got 1 of 2 rows of times"),
        ("2 3 1.5\n2 1 1 5 2 2 4\n1 1 3 7\n", "line 2: job 1 ends within its operations"),
        (FJSP.replace("1 3 7", "1 3 7 8"), "line 3: 1 numbers follow the 1 operations of job 2"),
        ('{"machines": [', "Invalid JSON"),
        ('{"machines": [{"name": "A"}], "jobs": [{"name": "J"}]}', "jobs.0.operations: Field required"),
    ],
)
def test_a_bad_file_is_told_with_its_line(tmp_path, text, told):
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read(path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)


def test_not_a_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path)
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a text file"):
        read(tmp_path / "x")
