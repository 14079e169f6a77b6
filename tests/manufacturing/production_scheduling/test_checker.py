"""Every rule of the checker is broken once, by changing a feasible plan by hand."""

from __future__ import annotations

import pytest

from manufacturing.production_scheduling.checker import check, measure, moved
from manufacturing.production_scheduling.problem import Assignment, Problem, Schedule

PLANT = Problem.model_validate(
    {
        "machines": [
            {"name": "saw", "setups": {"": {"red": 2}, "red": {"blue": 3}, "blue": {"red": 1}}},
            {
                "name": "mill",
                "calendar": [{"start": 0, "end": 20, "every": 30}],
                "maintenance": [{"start": 40, "end": 44}],
            },
            {"name": "oven", "capacity": 2},
        ],
        "operators": [{"name": "crew", "count": 2, "breaks": [{"start": 10, "end": 12}]}],
        "jobs": [
            {
                "name": "A",
                "operations": [
                    {"durations": {"saw": 4}, "family": "red", "lag": 2, "operators": {"crew": 1}},
                    {"durations": {"mill": 15, "saw": 99}, "interruptible": True},
                    {"durations": {"oven": 5}, "batch": "hot"},
                ],
                "due": 40,
                "weight": 3,
            },
            {
                "name": "B",
                "operations": [{"durations": {"saw": 5}, "family": "blue"}, {"durations": {"oven": 5}, "batch": "hot"}],
                "release": 1,
                "deadline": 60,
            },
        ],
        "objective": {"makespan": 1, "tardiness": 2, "flow": 1, "setups": 5},
    }
)
GOOD = [
    Assignment(job="A", operation="1", machine="saw", start=2, end=6, operators=("crew 2",)),
    Assignment(job="A", operation="2", machine="mill", start=8, end=33),
    Assignment(job="A", operation="3", machine="oven", start=45, end=50),
    Assignment(job="B", operation="1", machine="saw", start=9, end=14),
    Assignment(job="B", operation="2", machine="oven", start=45, end=50),
]


def changed(place, **update):
    rows = list(GOOD)
    rows[place] = rows[place].model_copy(update=update)
    return Schedule(assignments=tuple(rows))


def test_a_feasible_plan_and_its_worth():
    verdict = check(PLANT, Schedule(assignments=tuple(GOOD)))
    assert verdict.violations == ()
    # A ends at 50, 10 after 40; flow 3 x 50 + (50 - 1); setups 2 before A and 3 before B.
    expected = {"makespan": 50, "tardiness": 30, "flow": 199, "setups": 5, "changes": 0, "late": 1}
    assert verdict.figures == expected
    assert verdict.objective == 50 + 2 * 30 + 199 + 5 * 5


@pytest.mark.parametrize(
    ("place", "update", "told"),
    [
        (0, {"start": 1, "end": 5}, "before its setup ends at 2"),
        (0, {"end": 7}, "works 5 time units on machine 'saw', expected 4"),
        (0, {"operators": ()}, "has 0 operators of 'crew', expected 1"),
        (0, {"operators": ("crew 3",)}, "the operator 'crew 3', who does not exist"),
        (0, {"operators": ("crew 1", "crew 1")}, "counts an operator twice"),
        (0, {"start": 8, "end": 12}, "into the closed time 10 to 12"),
        (0, {"machine": "mill"}, "runs on machine 'mill', which cannot do it"),
        (1, {"start": 7, "end": 32}, "before '1' has ended and 2 of transport at 8"),
        (1, {"start": 8, "end": 23}, "starts or ends in closed time|works 12 time units"),
        (1, {"start": 22, "end": 45}, "starts or ends in closed time"),
        (1, {"start": 33, "end": 68}, "into maintenance of 'mill' at 40"),
        (2, {"start": 46, "end": 51}, "machine 'oven' starts job 'A'"),
        (3, {"start": 0, "end": 5}, "before the release of its job at 1"),
        (3, {"start": 8, "end": 13}, "has ended and 3 of setup at 9"),
        (4, {"start": 56, "end": 61}, "ends at 61, after its deadline at 60"),
        (4, {"job": "Z"}, "in the schedule but not in the problem"),
        (4, {"operation": "1"}, "scheduled twice"),
    ],
)
def test_every_violation_is_told(place, update, told):
    violations = check(PLANT, changed(place, **update)).violations
    assert any(part in sentence for part in told.split("|") for sentence in violations), violations


def test_missing_operations_and_full_batches():
    assert "operation '2' of job 'B' is not scheduled" in check(PLANT, Schedule(assignments=tuple(GOOD[:4]))).violations
    job = PLANT.job["B"].model_copy(update={"name": "C"})
    three = PLANT.changed(jobs=(*PLANT.jobs, job))
    rows = [*GOOD, *(one.model_copy(update={"job": "C"}) for one in GOOD[3:])]
    rows[5] = rows[5].model_copy(update={"start": 14, "end": 19})
    assert (
        "machine 'oven' holds 3 at 45 (jobs 'A', 'B', 'C'); 2 fit"
        in check(three, Schedule(assignments=tuple(rows))).violations
    )


def test_one_operator_is_not_in_two_places():
    jobs = [{"name": n, "operations": [{"durations": {m: 5}, "operators": {"crew": 1}}]} for n, m in ("Aa", "Bb")]
    problem = Problem.model_validate(
        {"machines": [{"name": "a"}, {"name": "b"}], "operators": [{"name": "crew", "count": 1}], "jobs": jobs}
    )
    rows = [Assignment(job=n, operation="1", machine=m, start=0, end=5, operators=("crew 1",)) for n, m in ("Aa", "Bb")]
    assert check(problem, Schedule(assignments=tuple(rows))).violations == (
        "operator 'crew 1' is at jobs 'A' and 'B' at once, at 0",
    )


def test_a_running_plan_is_kept_while_frozen():
    plan = Schedule(assignments=tuple(GOOD))
    running = PLANT.changed(plan=plan, frozen_until=10, objective={"makespan": 1, "changes": 7})
    assert check(running, plan).violations == ()
    later = changed(3, start=10, end=15)
    verdict = check(running, later)
    assert any("job 'B', operation '1' is frozen on 'saw' at 9" in sentence for sentence in verdict.violations)
    assert moved(plan, later) == [("B", "1")]
    assert verdict.objective == 50 + 7
    assert measure(running, later)["changes"] == 1
