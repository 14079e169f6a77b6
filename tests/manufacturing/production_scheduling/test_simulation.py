from __future__ import annotations

from time import perf_counter

import numpy as np
import pytest
from plants import plant

from manufacturing.production_scheduling.checker import check
from manufacturing.production_scheduling.data import generate
from manufacturing.production_scheduling.dispatch import RULES, dispatch
from manufacturing.production_scheduling.problem import Assignment, Problem, Schedule
from manufacturing.production_scheduling.robust import retimed
from manufacturing.production_scheduling.shop import Shop
from manufacturing.production_scheduling.simulation import Floor


def planned(problem: Problem, rule: str = "mwkr") -> Schedule:
    shop = Shop(problem)
    plan = dispatch(shop, RULES[rule])
    assert plan is not None
    return shop.schedule(plan)


@pytest.mark.parametrize("seed", range(12))
def test_with_planned_times_a_plan_is_met_and_feasible(seed):
    problem = plant(seed)
    schedule = planned(problem)
    assert check(problem, schedule).feasible
    floor = Floor.of(problem, schedule)
    starts, ends = (row[0] for row in floor.run(floor.planned[None]))
    assert (ends <= [one.end for one in schedule.assignments]).all()
    assert (starts <= [one.start for one in schedule.assignments]).all()
    assert check(problem, retimed(problem, schedule, floor)).violations == ()


@pytest.mark.parametrize("seed", range(4))
def test_longer_times_never_end_anything_earlier(seed):
    problem = plant(seed)
    floor = Floor.of(problem, planned(problem))
    rng = np.random.default_rng(seed)
    actual = rng.integers(1, 30, (50, len(floor.order)))
    longer = actual + rng.integers(0, 5, actual.shape)
    assert (floor.job_ends(longer) >= floor.job_ends(actual)).all()


def test_a_job_shop_is_the_longest_path():
    problem = generate(6, 4, 11, 12)
    schedule = planned(problem)
    floor = Floor.of(problem, schedule)
    actual = np.random.default_rng(0).integers(1, 99, (3, 24))
    rows = sorted(enumerate(schedule.assignments), key=lambda row: row[1].start)
    for draw, found in zip(actual, floor.run(actual)[1], strict=True):
        machine, job, ends = {}, {}, {}
        for o, one in rows:
            end = max(machine.get(one.machine, 0), job.get(one.job, 0)) + int(draw[o])
            machine[one.machine] = job[one.job] = ends[o] = end
        assert found.tolist() == [ends[o] for o in range(24)]


def one_operation(**parts) -> tuple[Problem, Schedule]:
    fields = {"machines": [{"name": "oven"}], "jobs": [{"name": "J", "operations": [{"durations": {"oven": 6}}]}]}
    for name, value in parts.items():
        target = (
            fields["machines"][0]
            if name in ("calendar", "breaks", "maintenance")
            else fields["jobs"][0]["operations"][0]
        )
        target[name] = value
    problem = Problem.model_validate(fields)
    return problem, planned(problem)


@pytest.mark.parametrize(
    ("parts", "actual", "span"),
    [
        ({"breaks": [{"start": 8, "end": 10}]}, 6, (0, 6)),
        ({"breaks": [{"start": 8, "end": 10}]}, 9, (0, 11)),  # it was begun, and goes on after the break
        ({"breaks": [{"start": 4, "end": 10}]}, 6, (10, 16)),  # it does not fit before, as planned
        ({"breaks": [{"start": 4, "end": 10}]}, 2, (10, 12)),  # nor is it known that it is short
        ({"breaks": [{"start": 4, "end": 10}], "interruptible": True}, 7, (0, 13)),
        ({"maintenance": [{"start": 4, "end": 9}], "interruptible": True}, 6, (9, 15)),
        ({"maintenance": [{"start": 7, "end": 9}]}, 8, (0, 10)),
        ({"calendar": [{"start": 2, "end": 9, "every": 10}]}, 15, (2, 23)),
        ({"calendar": [{"start": 0, "end": 9}]}, 12, (0, 12)),  # it closes for ever: overtime
    ],
)
def test_calendars_hold_up_what_takes_longer(parts, actual, span):
    problem, schedule = one_operation(**parts)
    floor = Floor.of(problem, schedule)
    starts, ends = floor.run(np.array([[actual]]))
    assert (starts[0, 0], ends[0, 0]) == span


def test_setups_operators_and_batches_are_kept_with_random_times():
    problem = Problem.model_validate(
        {
            "machines": [
                {"name": "press", "setups": {"a": {"b": 5}}, "initial_family": "a"},
                {"name": "kiln", "capacity": 2},
                {"name": "bench"},
            ],
            "operators": [{"name": "fitter", "count": 1}],
            "jobs": [
                {
                    "name": name,
                    "operations": [
                        {"durations": {"press": 4}, "family": family, "operators": {"fitter": 1}},
                        {"durations": {"kiln": 10}, "batch": "glaze"},
                    ],
                }
                for name, family in (("A", "a"), ("B", "b"))
            ]
            + [{"name": "C", "operations": [{"durations": {"bench": 3}, "operators": {"fitter": 1}}]}],
        }
    )
    rows = [
        ("A", "1", "press", 0, 4, ("fitter 1",)),
        ("A", "2", "kiln", 13, 23, ()),
        ("B", "1", "press", 9, 13, ("fitter 1",)),
        ("B", "2", "kiln", 13, 23, ()),
        ("C", "1", "bench", 4, 7, ("fitter 1",)),
    ]
    names = ("job", "operation", "machine", "start", "end", "operators")
    schedule = Schedule(assignments=tuple(Assignment(**dict(zip(names, row, strict=True))) for row in rows))
    assert check(problem, schedule).feasible
    starts, ends = Floor.of(problem, schedule).run(np.array([[6, 20, 2, 99, 8]]))
    # C waits for the fitter; B for him too (14), the setup would be done at 11; the kiln is fired once, for 20.
    assert starts[0].tolist() == [0, 16, 14, 16, 6]
    assert ends[0].tolist() == [6, 36, 16, 36, 14]


def test_what_has_begun_stays_where_it_is():
    problem = generate(4, 3, 5, 6)
    schedule = planned(problem)
    later = problem.changed(plan=schedule, frozen_until=schedule.makespan // 2)
    floor = Floor.of(later, schedule)
    short = np.ones((1, 12), np.int64)
    starts, _ = floor.run(short)
    for place, one in enumerate(schedule.assignments):
        assert starts[0, place] >= min(one.start, later.frozen_until)


def test_thousands_of_runs_a_second():
    problem = generate(10, 10, 1, 2)
    floor = Floor.of(problem, planned(problem))
    actual = np.random.default_rng(0).integers(1, 99, (2_000, 100))
    floor.job_ends(actual[:2])
    began = perf_counter()
    floor.job_ends(actual)
    assert perf_counter() - began < 0.5  # 0.003 s on an idle core
