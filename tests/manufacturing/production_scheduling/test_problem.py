from __future__ import annotations

import pytest
from plants import plant
from pydantic import ValidationError

from manufacturing.production_scheduling.problem import Job, Problem, Window
from manufacturing.production_scheduling.readers import sentence

STEP = {"durations": {"A": 3}}


def problem(*operations, machine=(), job=(), **fields):
    orders = [{"name": "J", "operations": list(operations or [STEP]), **dict(job)}]
    return Problem.model_validate({"machines": [{"name": "A", **dict(machine)}], "jobs": orders} | fields)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"operations": [{**STEP, "name": "cut", "after": ["weld"]}, {**STEP, "name": "weld"}]},
            "'cut' waits for 'weld'",
        ),
        ({"operations": [{**STEP, "after": ["1"]}]}, "cyclic: '1' waits for '1'"),
        ({"operations": [{**STEP, "after": ["9"]}]}, "waits for '9', which is not an operation of the job"),
        ({"operations": [{"durations": {"B": 1}}]}, "machine 'B' does not exist; there are 'A'"),
        ({"operations": [{"durations": {"A": 0}}]}, "operation '1': the duration on machine 'A' is 0"),
        ({"operations": [{"durations": {"A": -4}}]}, "is -4; it must be at least 1"),
        ({"operations": [{**STEP, "operators": {"welders": 1}}]}, "no operators 'welders'"),
        ({"operations": [{**STEP, "name": "x"}, {**STEP, "name": "x"}]}, "operation 'x' is listed twice"),
        ({"job": {"release": 9, "due": 8}}, "job 'J' is due at 8, before its release at 9"),
        ({"job": {"release": 9, "deadline": 11}}, "cannot end before 12 even on free machines, and its deadline is 11"),
        ({"machine": {"calendar": []}}, "machine 'A' has an empty calendar"),
        ({"machine": {"breaks": [{"start": 5, "end": 5}]}}, "the window 5 to 5 is empty"),
        ({"machine": {"calendar": [{"start": 0, "end": 9, "every": 8}]}}, "longer than its period of 8"),
        ({"fields": {"machines": [{"name": "A"}, {"name": "A"}]}}, "machine 'A' is listed twice"),
        ({"fields": {"frozen_until": 5}}, "there is no running plan"),
        ({"fields": {"objective": {"makespan": 0}}}, "the objective is empty"),
    ],
)
def test_what_contradicts_itself_is_told_in_a_sentence(wrong, told):
    with pytest.raises(ValidationError) as caught:
        problem(
            *wrong.get("operations", []),
            machine=wrong.get("machine", ()),
            job=wrong.get("job", ()),
            **wrong.get("fields", {}),
        )
    assert told in sentence(caught.value)


def test_a_problem_survives_json():
    one = plant(1)
    assert Problem.model_validate_json(one.model_dump_json()) == one
    assert Problem.model_validate_json(one.model_dump_json(exclude_defaults=True)) == one


def test_operations_follow_each_other_unless_told_otherwise():
    steps = [{**STEP, "name": "a"}, {**STEP, "name": "b", "after": []}, {**STEP, "name": "c", "after": ["a", "b"]}]
    job = Job.model_validate({"name": "J", "operations": [*steps, STEP]})
    assert job.names == ("a", "b", "c", "4")
    assert job.before == ((), (), (0, 1), (2,))


def test_windows_repeat():
    assert list(Window(start=2, end=4, every=10).until(23)) == [(2, 4), (12, 14), (22, 24)]
    assert list(Window(start=2, end=4).until(23)) == [(2, 4)]
