from __future__ import annotations

import time

import pytest
from plants import plant

from common.errors import InvalidRequest
from manufacturing.production_scheduling.checker import check, moved
from manufacturing.production_scheduling.data import generate
from manufacturing.production_scheduling.events import Breakdown, LateMaterial, RushJob
from manufacturing.production_scheduling.problem import Job
from manufacturing.production_scheduling.repair import repair
from manufacturing.production_scheduling.solve import solve


@pytest.fixture(scope="module")
def running():
    problem = generate(50, 15, 1, 2)
    return problem, solve(problem, 4, 1, only="search").schedule


def verify(result, schedule, now):
    plan = result.solution.schedule
    assert check(result.problem, plan).violations == ()
    assert set(result.moved) == set(moved(schedule, plan))
    begun = {key: one for key, one in schedule.by_operation.items() if one.start < now}
    return [key for key in begun if plan.by_operation[key] != begun[key]]


def test_breakdown(running):
    problem, schedule = running
    now = schedule.makespan // 3
    broken = Breakdown(machine="M3", start=now, end=now + 150)
    began = time.perf_counter()
    result = repair(problem, schedule, [broken], now=now, seconds=2.5)
    assert time.perf_counter() - began < 10  # 2.6 s on a core of its own; tests share theirs
    assert 0 < result.share <= 0.2
    # What had begun stays, but for what the machine was doing.
    for job, operation in verify(result, schedule, now):
        old = schedule.by_operation[job, operation]
        assert old.machine == "M3"
        assert old.end > now
    on = [one for one in result.solution.schedule.assignments if one.machine == "M3"]
    assert not [one for one in on if one.start < now + 150 and one.end > now]


def test_rush_job_and_late_material(running):
    problem, schedule = running
    now = schedule.makespan // 2
    rush = Job(name="RUSH", release=now, due=now + 600, operations=problem.jobs[0].operations)
    key = next(k for k, one in schedule.by_operation.items() if one.start > now + 200)
    late = LateMaterial(job=key[0], operation=key[1], until=schedule.by_operation[key].start + 100)
    result = repair(problem, schedule, [RushJob(job=rush), late], now=now, frozen=50, seconds=2)
    assert verify(result, schedule, now + 50) == []
    plan = result.solution.schedule
    assert result.share <= 0.2
    assert plan.by_operation[key].start >= late.until
    assert min(one.start for one in plan.assignments if one.job == "RUSH") >= now + 50


@pytest.mark.parametrize("seed", range(3))
def test_a_plant_with_everything(seed):
    problem = plant(seed)
    schedule = solve(problem, 2, 1).schedule
    result = repair(problem, schedule, [Breakdown(machine="M0", start=40, end=60)], now=40, seconds=2)
    verify(result, schedule, 40)


def test_bad_events(running):
    problem, schedule = running
    with pytest.raises(InvalidRequest, match="no such machine"):
        repair(problem, schedule, [Breakdown(machine="M99", start=1, end=2)], now=0)
    with pytest.raises(InvalidRequest, match="ends after its start"):
        repair(problem, schedule, [Breakdown(machine="M1", start=2, end=2)], now=0)
    with pytest.raises(InvalidRequest, match="such a job already"):
        repair(problem, schedule, [RushJob(job=problem.jobs[0])], now=0)
    with pytest.raises(InvalidRequest, match="no such operation"):
        repair(problem, schedule, [LateMaterial(job="J1", operation="99", until=5)], now=0)
    with pytest.raises(InvalidRequest, match="does not fit the problem"):
        repair(generate(50, 15, 1, 3), schedule, [], now=0)
