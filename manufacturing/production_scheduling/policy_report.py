"""The dispatching policy against the usual rules, on the classic instances."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from common.data.card import load_card
from common.data.fetch import data_sha256
from common.evaluation.report import Report, Seconds, Slice
from manufacturing.production_scheduling.data import CLASSIC, bounds, instances, load
from manufacturing.production_scheduling.episodes import best_of, job_shop, random_shop, run
from manufacturing.production_scheduling.measures import mean_by_group, report_of
from manufacturing.production_scheduling.policy import RULES, Policy, of_rule
from manufacturing.production_scheduling.policy_kernels import JobShop, Network

SAMPLES = 64
"""Runs of best-of-k."""
KINDS: dict[str, dict[str, Any]] = {"plain": {}, "flexible": {"flexible": True}, "with setups": {"families": 4}}
SIZES, SHOPS = ((10, 10), (30, 10)), 30
SCALES = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Of a rule's score, when its choices are drawn: the best on random shops is taken."""


def of_policy(policy: Policy, preset: str, train_seconds: float) -> Report:
    """Gap of dispatching to the best known makespan on the classic instances: one run, and the best of 64.

    All are non-delay and run in the same simulator, and the first of the 64 is the one run.
    """
    started = time.perf_counter()
    names, best = instances(CLASSIC), bounds(CLASSIC)
    shops = [job_shop(load(CLASSIC, name)) for name in names]
    top = np.array([best[name][1] for name in names], float)
    loaded = time.perf_counter()

    def gaps(makespan: Callable[[JobShop], int]) -> np.ndarray:
        return np.array([makespan(shop) for shop in shops]) / top - 1

    one = gaps(partial(run, net=policy.network))
    many = gaps(partial(best_of, net=policy.network, samples=SAMPLES, seed=1))
    rules = {}
    for name, rule in RULES.items():
        soft = soften(rule)
        rules[name] = {
            "gap": float(gaps(partial(run, net=rule)).mean()),
            "gap_best64": float(gaps(partial(best_of, net=soft, samples=SAMPLES, seed=1)).mean()),
        }
    chance = {
        "gap": float(np.mean([gaps(partial(run, net=of_rule(), seed=seed)).mean() for seed in range(10)])),
        "gap_best64": float(gaps(partial(best_of, net=of_rule(), samples=SAMPLES, seed=1)).mean()),
    }
    each = np.arange(len(names))
    families = np.array([name.rstrip("0123456789") for name in names])
    slices = [
        Slice(
            name="family",
            group=str(family),
            metrics={
                "gap": mean_by_group(one[families == family], each[families == family]),
                "gap_best64": mean_by_group(many[families == family], each[families == family]),
            },
        )
        for family in np.unique(families)
    ]
    report = report_of(
        CLASSIC,
        "dispatching",
        preset,
        False,
        data_sha256(load_card(CLASSIC)),
        metrics={"gap": mean_by_group(one, each), "gap_best64": mean_by_group(many, each)},
        floor=chance,
        baselines=rules,
        slices=slices,
    )
    seconds = Seconds(data=loaded - started, train=train_seconds, evaluate=time.perf_counter() - loaded)
    return report.model_copy(update={"seconds": seconds})


def on_random_shops(policy: Policy) -> list[dict[str, str]]:
    """Mean makespans over those of most work remaining, by kind and size of random shop; needs no data."""
    rivals = {"policy": policy.network, **RULES, "setup": of_rule(setup=-100, tail=1)}
    del rivals["MWKR"]
    rows = []
    for kind, options in KINDS.items():
        for jobs, machines in SIZES:
            shops = [random_shop(np.random.default_rng([9, k]), jobs, machines, **options) for k in range(SHOPS)]
            usual = np.array([run(shop, RULES["MWKR"]) for shop in shops])
            ratios = {name: np.mean([run(shop, net) for shop in shops] / usual) for name, net in rivals.items()}
            rows.append({"shops": f"{kind}, {jobs} x {machines}"} | {name: f"{r:.3f}" for name, r in ratios.items()})
    return rows


def soften(rule: Network) -> Network:
    """The rule with the scale at which the best of drawn runs is best on random shops, which are no test instances."""
    rng = np.random.default_rng(8)
    shops = [random_shop(rng, 10, 10) for _ in range(20)]
    scaled = [rule._replace(linear=rule.linear * scale) for scale in SCALES]
    return min(scaled, key=lambda net: sum(best_of(shop, net, 16, 0) for shop in shops))
