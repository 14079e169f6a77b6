from __future__ import annotations

from itertools import pairwise

import pytest
from plants import plant

from manufacturing.production_scheduling.conflicts import constraints, feasible, why_infeasible
from manufacturing.production_scheduling.data import generate
from manufacturing.production_scheduling.explain import bottleneck, critical_path, loads, tell, what_if, why_late
from manufacturing.production_scheduling.problem import Problem
from manufacturing.production_scheduling.solve import solve


@pytest.fixture(scope="module")
def solved():
    problem = generate(6, 4, 1, 2)
    return problem, solve(problem, 5, 1)


def test_a_critical_path_has_no_holes(solved):
    problem, result = solved
    path = critical_path(problem, result.schedule)
    assert path[0].start == 0
    assert path[-1].end == result.schedule.makespan
    for before, after in pairwise(path):
        assert before.end == after.start
        assert after.behind == (before.job, before.operation)
    assert all(sentence.endswith(".") for sentence in tell(path))


def test_the_bottleneck_has_most_of_the_critical_path(solved):
    problem, result = solved
    rows = loads(problem, result.schedule)
    assert sum(row.critical for row in rows) == result.schedule.makespan
    assert bottleneck(problem, result.schedule).critical == max(row.critical for row in rows)
    work = sum(next(iter(step.durations.values())) for job in problem.jobs for step in job.operations)
    assert sum(row.busy for row in rows) == work


def test_why_late_adds_up():
    problem = plant(3)
    schedule = solve(problem, 5, 1).schedule
    for job in problem.jobs:
        delay = why_late(problem, schedule, job.name)
        assert delay.earliest_end <= delay.end
        assert delay.late == delay.end - job.due
        assert delay.sentences[0].startswith(f"Job {job.name} ends at {delay.end}, ")
        assert all(wait > 0 for wait in delay.waits.values())


def test_infeasible_is_told_by_a_minimal_set():
    problem = plant(3)
    jobs = [job.model_copy(update={"deadline": 75}) for job in problem.jobs]
    wrong = problem.changed(jobs=jobs)
    found = why_infeasible(wrong, 20)
    assert found.feasible is False
    assert found.minimal
    assert any("must be done by 75" in sentence for sentence in found.constraints)
    # Alone they leave no plan, and without any one of them there is one.
    every = constraints(wrong)
    kept = [one for one in every if one.sentence in found.constraints]
    for left_out in (None, *kept):
        relaxed = wrong
        for one in every:
            if one not in kept or one is left_out:
                relaxed = one.relax(relaxed)
        assert feasible(relaxed, 10) is (left_out is not None)


def test_two_machines_too_few():
    step = {"durations": {"A": 5}, "operators": {"crew": 1}}
    other = {"durations": {"B": 5}, "operators": {"crew": 1}}
    jobs = [
        {"name": "J1", "operations": [step], "deadline": 5},
        {"name": "J2", "operations": [other], "deadline": 5},
        {"name": "J3", "operations": [{"durations": {"B": 5}}], "deadline": 99},
    ]
    problem = Problem.model_validate(
        {"machines": [{"name": "A"}, {"name": "B"}], "operators": [{"name": "crew", "count": 1}], "jobs": jobs}
    )
    assert set(why_infeasible(problem, 10).constraints) == {
        "There are only 1 operators crew.",
        "Job J1 must be done by 5.",
        "Job J2 must be done by 5.",
    }
    assert why_infeasible(plant(1), 10).feasible is True


def test_what_if():
    problem = plant(3, jobs=4)
    more = problem.changed(operators=[{"name": "fitters", "count": 8}])
    found = what_if(problem, more, 5, 1)
    assert found.after.objective <= found.before.objective
    assert found.figures["makespan"] == (found.before.schedule.makespan, found.after.schedule.makespan)
    assert found.sentences
