from __future__ import annotations

import time

import pytest
from plants import plant

from manufacturing.production_scheduling.checker import check
from manufacturing.production_scheduling.data import generate
from manufacturing.production_scheduling.dispatch import RULES, best_of, by_rank, dispatch
from manufacturing.production_scheduling.problem import Problem
from manufacturing.production_scheduling.shop import Shop, Timeline


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_honours_every_constraint(rule):
    for seed in range(30):
        problem = plant(seed, jobs=8)
        shop = Shop(problem)
        assert check(problem, shop.schedule(dispatch(shop, RULES[rule]))).violations == ()


def test_first_plan_in_a_second():
    for jobs, machines in ((100, 20), (100, 100)):
        problem = generate(jobs, machines, 11, 12)
        began = time.process_time()
        assert best_of(Shop(problem), 0.3) is not None
        assert time.process_time() - began < 1.0


def test_rules_differ_as_they_should():
    jobs = [
        {"name": "long", "operations": [{"durations": {"A": 9}}], "due": 9, "weight": 1},
        {"name": "short", "operations": [{"durations": {"A": 2}}, {"durations": {"B": 1}}], "due": 30, "weight": 1},
        {"name": "heavy", "operations": [{"durations": {"A": 3}}], "due": 12, "weight": 99},
    ]
    shop = Shop(Problem.model_validate({"machines": [{"name": "A"}, {"name": "B"}], "jobs": jobs}))
    first = {}
    for name, rule in RULES.items():
        plan = dispatch(shop, rule)
        first[name] = min((0, 1, 3), key=lambda o: plan[o][1])
    assert first == {"spt": 1, "mwkr": 0, "edd": 0, "fifo": 0, "atc": 3, "setup": 0}


def test_a_plan_can_be_followed():
    problem = plant(5)
    shop = Shop(problem)
    plan = dispatch(shop, RULES["atc"])
    again = dispatch(shop, by_rank([start for _, start, _ in plan]), [machine for machine, _, _ in plan])
    assert check(problem, shop.schedule(again)).violations == ()
    assert [row[0] for row in again] == [row[0] for row in plan]


def test_timelines():
    machine = plant(0).machines[1]  # open 0 to 15 and 20 to 40 of every 60
    line = Timeline(machine, [])
    assert line.fit(0, 15, False) == (0, 15)
    assert line.fit(1, 15, False) == (20, 35)
    assert line.fit(10, 20, True) == (10, 35)
    assert line.fit(16, 25, True) == (20, 65)
    assert line.fit(0, 21, False) is None
    assert line.fit(100, 20, False) == (140, 160)


def test_no_working_time_left():
    problem = Problem.model_validate(
        {
            "machines": [{"name": "A", "calendar": [{"start": 0, "end": 5}]}],
            "jobs": [{"name": "J", "operations": [{"durations": {"A": 3}}, {"durations": {"A": 3}}]}],
        }
    )
    assert dispatch(Shop(problem), RULES["fifo"]) is None
