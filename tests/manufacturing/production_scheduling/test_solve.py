from __future__ import annotations

import threading
import time

import pytest
from plants import plant

from common.errors import UsageError
from manufacturing.production_scheduling.bounds import jackson, lower_bound
from manufacturing.production_scheduling.checker import check
from manufacturing.production_scheduling.data import generate, load
from manufacturing.production_scheduling.jobshop import warm
from manufacturing.production_scheduling.problem import Problem
from manufacturing.production_scheduling.shop import Shop
from manufacturing.production_scheduling.solve import Race, solve


def test_ft06_is_solved_to_its_optimum(real_data):
    problem = load("jobshop-classic", "ft06")
    steps = []
    result = solve(problem, 20, on_improvement=lambda one, schedule: steps.append(one))
    assert (result.status, result.objective, result.bound, result.gap) == ("optimal", 55, 55, 0.0)
    assert check(problem, result.schedule).violations == ()
    assert tuple(steps) == result.history
    objectives = [step.objective for step in result.history]
    assert objectives == sorted(objectives, reverse=True)
    assert [step.bound for step in result.history] == sorted(step.bound for step in result.history)


@pytest.mark.parametrize("seed", range(3))
def test_two_ways_to_the_same_optimum(seed):
    """Plain CP-SAT and the neighbourhoods, whose whole neighbourhood is a proof, agree on plants with everything."""
    problem = plant(seed, jobs=4)
    one, two = solve(problem, 10, only="cp-sat"), solve(problem, 10, only="search")
    assert one.status == "optimal"
    assert two.objective == one.objective
    assert lower_bound(Shop(problem)) <= one.objective


def test_the_time_limit_is_kept_with_10000_operations():
    warm()
    problem = generate(100, 100, 3, 4)
    began = time.perf_counter()
    result = solve(problem, 1.0)
    spent = time.perf_counter() - began
    assert result.status in ("feasible", "optimal")
    assert 0 < result.gap < 1
    assert spent < 10.0  # 1.05 s on cores of its own; tests share theirs
    assert result.history[0].source == "dispatching"


def test_it_can_be_cancelled():
    stop = threading.Event()
    timer = threading.Timer(0.7, stop.set)
    timer.start()
    result = solve(generate(30, 15, 3, 4), 60, stop=stop.is_set)
    assert result.seconds < 5
    assert result.schedule is not None


def test_no_plan_is_proven():
    problem = plant(3)
    jobs = [job.model_copy(update={"deadline": 75}) for job in problem.jobs]
    result = solve(problem.changed(jobs=jobs), 20)
    assert (result.status, result.schedule, result.gap) == ("infeasible", None, None)


def test_a_wrong_plan_is_refused_whoever_offers_it(caplog):
    problem = generate(3, 3, 1, 1)
    shop = Shop(problem)
    race = Race(shop, 0, lambda: False, time.perf_counter() + 9)
    assert not race.offer([(0, 0, 1)] * len(shop), "nobody")
    assert race.plan is None
    assert "nobody offered a plan that the checker refused" in caplog.text


def test_the_running_plan_is_changed_little():
    problem = plant(7)
    first = solve(problem, 5, 1)
    weights = {"makespan": 1, "changes": 1000}
    again = solve(problem.changed(plan=first.schedule, frozen_until=20, objective=weights), 5, 1)
    assert again.figures["changes"] == 0


def test_bad_limits():
    with pytest.raises(UsageError, match="more than 0 s"):
        solve(generate(2, 2, 1, 1), 0)


def test_jackson():
    # Carlier's example (EJOR 11, 1982): heads, durations and tails of seven jobs; the preemptive optimum is 49.
    rows = [(10, 5, 7), (13, 6, 26), (11, 7, 24), (20, 4, 21), (30, 3, 8), (0, 6, 17), (30, 2, 0)]
    assert jackson(rows) == 49


def test_one_worker_does_both():
    result = solve(generate(6, 6, 2, 3), 20, 1)
    assert result.status == "optimal"


def test_no_job_fits_its_calendar():
    problem = Problem.model_validate(
        {
            "machines": [{"name": "A", "calendar": [{"start": 0, "end": 5, "every": 10}]}],
            "jobs": [{"name": "J", "operations": [{"durations": {"A": 6}}]}],
        }
    )
    assert solve(problem, 3).status == "infeasible"
