from __future__ import annotations

import subprocess
import sys
from statistics import mean

import numpy as np
import pytest
import torch
from plants import plant

from common.errors import UsageError
from manufacturing.production_scheduling import dispatch as core
from manufacturing.production_scheduling.checker import check
from manufacturing.production_scheduling.config import Learning
from manufacturing.production_scheduling.data import generate
from manufacturing.production_scheduling.durations import Times
from manufacturing.production_scheduling.episodes import best_of, job_shop, random_makespans, random_shop, recorded, run
from manufacturing.production_scheduling.learn_policy import Scorer, learn_policy
from manufacturing.production_scheduling.policy import RULES, Policy, of_rule
from manufacturing.production_scheduling.policy_kernels import FEATURES, score
from manufacturing.production_scheduling.problem import Problem
from manufacturing.production_scheduling.shop import Shop


def scorer(seed: int = 0) -> Scorer:
    torch.manual_seed(seed)
    made = Scorer(8)
    torch.nn.init.normal_(made.last.weight)
    return made


def test_torch_and_the_compiled_loop_score_alike():
    made = scorer()
    rows = np.random.default_rng(0).normal(size=(7, len(FEATURES))).astype(np.float32)
    queue = np.array([0, 0, 0, 1, 1, 1, 1])
    with torch.no_grad():
        found = made(torch.from_numpy(rows), torch.from_numpy(queue), 2).numpy()
    for number in (0, 1):
        some = rows[queue == number].astype(np.float64)
        np.testing.assert_allclose(score(some, made.network()), found[queue == number], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", ["SPT", "MWKR", "FIFO"])
def test_rules_are_those_of_the_dispatcher(rule):
    gaps = []
    for seed in range(1, 30):
        problem = generate(8, 5, 1000 + seed, 2000 + seed)
        plan = core.dispatch(Shop(problem), core.RULES[rule.lower()])
        assert plan is not None
        theirs, ours = max(end for *_, end in plan), run(job_shop(problem), RULES[rule])
        gaps.append(ours / theirs - 1)
    # Equal but for ties, and for the order of machines that are free at the same moment.
    assert mean(gap == 0 for gap in gaps) > 0.7
    assert abs(mean(gaps)) < 0.01


def test_a_network_dispatches_in_both_simulators():
    network, same = scorer().network(), 0
    for seed in range(1, 21):
        problem = generate(6, 6, 3000 + seed, 4000 + seed)
        schedule = Policy(network).plan(problem)
        assert schedule is not None
        same += schedule.makespan == run(job_shop(problem), network)
    assert same >= 14


@pytest.mark.parametrize("seed", range(8))
def test_its_plans_of_any_plant_are_feasible_and_repeat(seed):
    policy, problem = Policy(scorer(seed).network()), plant(seed)
    schedule = policy.plan(problem)
    assert schedule is not None
    assert check(problem, schedule).violations == ()
    assert policy.plan(problem) == schedule
    assert Policy.of_arrays(policy.arrays()).plan(problem) == schedule


def test_it_repairs_a_running_plan_too():
    problem = generate(6, 4, 7, 8)
    policy = Policy(RULES["MWKR"])
    first = policy.plan(problem)
    assert first is not None
    running = problem.changed(plan=first, frozen_until=first.makespan // 2)
    again = policy.plan(running)
    assert again is not None
    assert check(running, again).violations == ()


def test_a_run_is_a_non_delay_schedule_of_the_shop():
    shop = random_shop(np.random.default_rng(0), 6, 5)
    work = np.bincount(shop.machine, weights=shop.duration).max()
    jobs = np.add.reduceat(shop.duration, shop.first[:-1])
    for seed in range(20):
        makespan = run(shop, of_rule(), seed=seed)
        assert max(work, jobs.max()) <= makespan <= shop.duration.sum()
    one = random_shop(np.random.default_rng(0), 1, 5)
    assert run(one, RULES["SPT"]) == one.duration.sum()


def test_flexible_shops_choose_machines():
    rng = np.random.default_rng(2)
    shops = [random_shop(rng, 8, 5, flexible=True) for _ in range(10)]
    for shop in shops:
        rows = zip(shop.at, shop.at[1:], strict=False)
        assert all(len(set(shop.machine[a:b])) == b - a for a, b in rows)
    problem = Problem.model_validate(
        {
            "machines": [{"name": "fast"}, {"name": "slow"}],
            "jobs": [{"name": name, "operations": [{"durations": {"fast": 5, "slow": 7}}]} for name in "ABC"],
        }
    )
    assert run(job_shop(problem), RULES["SPT"]) == 10


def test_setups_take_the_time_that_the_dispatcher_gives_them():
    same = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shop = generate(6, 4, 100 + seed, 200 + seed)
        setups = {a: {b: int(rng.integers(5, 50)) for b in "xyz" if b != a} for a in ("x", "y", "z", "")}
        machines = tuple(one.model_copy(update={"setups": setups}) for one in shop.machines)
        jobs = [
            job.model_copy(
                update={
                    "operations": tuple(
                        o.model_copy(update={"family": str(rng.choice(list("xyz")))}) for o in job.operations
                    )
                }
            )
            for job in shop.jobs
        ]
        problem = shop.changed(machines=machines, jobs=tuple(jobs))
        for rule in (of_rule(setup=-10, tail=1), RULES["MWKR"]):
            schedule = Policy(rule).plan(problem)
            assert schedule is not None
            assert check(problem, schedule).feasible
            same += schedule.makespan == run(job_shop(problem), rule)
    assert same >= 30


def test_random_times_are_those_that_count():
    shop = random_shop(np.random.default_rng(0), 6, 5)
    assert run(shop, RULES["SPT"], actual=2 * shop.duration) > run(shop, RULES["SPT"])
    assert run(shop, RULES["FIFO"], actual=shop.duration) == run(shop, RULES["FIFO"])


def test_dispatching_under_random_times_has_a_distribution():
    problem = generate(6, 5, 21, 22)
    sure = Times(np.array([0.1, 0.5, 0.9]), np.ones((30, 3)), 0.0)
    loose = Times(sure.levels, np.array([[0.8, 1.0, 1.4]] * 30), 0.1)
    planned = run(job_shop(problem), RULES["MWKR"])
    rng = np.random.default_rng(0)
    assert set(random_makespans(problem, RULES["MWKR"], sure, rng, 5).tolist()) == {planned}
    found = random_makespans(problem, RULES["MWKR"], loose, rng, 500)
    assert found.min() < planned < np.median(found)  # what waits for several waits for the latest


def test_more_samples_are_never_worse():
    shop = random_shop(np.random.default_rng(1), 10, 5)
    net = of_rule(tail=8)
    found = [best_of(shop, net, k, 0) for k in (1, 4, 16)]
    assert found[0] == run(shop, net)
    assert found[0] >= min(found[1:])
    assert best_of(shop, net, 16, 0) == found[2]


def test_what_is_recorded_is_what_was_chosen_from():
    shop = random_shop(np.random.default_rng(1), 6, 4)
    makespan, record = recorded(shop, RULES["MWKR"], seed=3)
    assert makespan == run(shop, RULES["MWKR"], seed=3)
    sizes = np.diff(record.begin)
    assert (sizes >= 2).all()
    assert (record.chosen < sizes).all()
    assert len(record.rows) == record.begin[-1]
    assert np.isfinite(record.rows).all()


def test_more_than_a_job_shop_is_refused_by_the_simulator():
    with pytest.raises(UsageError, match="job shops only"):
        job_shop(plant(0))


def test_learning_makes_it_better_than_it_was():
    settings = Learning(
        updates=50, shops=4, rollouts=12, sizes=((6, 6),), flexible=0.0, setups=0.0, valid_shops=30, learning_rate=3e-3
    )
    policy, learnt = learn_policy(settings, 0)
    fresh = [random_shop(np.random.default_rng([9, k]), 6, 6) for k in range(60)]
    own, rule = (np.array([run(shop, net) for shop in fresh]) for net in (policy.network, RULES["MWKR"]))
    assert (own / rule).mean() < 0.99
    assert learnt["policy_makespan_ratio"] < 1
    assert learn_policy(settings.model_copy(update={"updates": 0}), 0)[1]["policy_makespan_ratio"] == pytest.approx(1)


def test_serving_needs_no_torch_pandas_or_lightgbm():
    code = (
        "import sys\n"
        "from manufacturing.production_scheduling import durations, policy, robust, simulation\n"
        "from manufacturing.production_scheduling.data import generate\n"
        "assert policy.Policy(policy.RULES['MWKR']).plan(generate(4, 3, 5, 6))\n"
        "heavy = {'torch', 'pandas', 'lightgbm', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
