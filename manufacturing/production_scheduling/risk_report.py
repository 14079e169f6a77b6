"""Promised risks against what happens: plans are run in the simulated plant, and not in the model of it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from common.evaluation.report import Metric, Report, Seconds, Slice
from common.progress import bar
from manufacturing.production_scheduling.config import Config
from manufacturing.production_scheduling.durations import Durations, stretched, stretched_times
from manufacturing.production_scheduling.history import History
from manufacturing.production_scheduling.measures import mean_by_group, report_of
from manufacturing.production_scheduling.plant import Case, World, case
from manufacturing.production_scheduling.problem import Problem, Schedule
from manufacturing.production_scheduling.robust import robust
from manufacturing.production_scheduling.simulation import Floor
from manufacturing.production_scheduling.solve import solve

RISKS = (0.05, 0.1, 0.3)
ROBUST = "robust"
CASES, SAMPLE_CASES = 60, 6
"""Job shops of the simulated plant that are planned with a promised risk."""
ORDERS = (5, 10, 30)
"""Their sizes, in turn."""
PLANT_DRAWS = 2_000
"""Runs of each plan in the plant."""
SOLVE_SECONDS, QUICK_SECONDS = 0.5, 0.2
"""Of each of the plans that a robust one is chosen from; in the preset `sample`."""


def of_risk(config: Config, history: History, durations: Durations, preset: str) -> Report:
    """Plans of the simulated plant with promised risks, run in the plant itself and not in the model of it.

    `risk10` is the share of runs that end later than their plan says, where .1 was promised, and so on; `price` is the
    promised makespan over the mean of the runs, for .1. The floor plans with planned times.
    """
    started = time.perf_counter()
    world = World.of(config.plant, config.seed)
    count = SAMPLE_CASES if preset == "sample" else CASES
    rows: dict[str, list[list[float]]] = {}
    with bar("promised risk", count) as advance:
        for number in range(count):
            rng = np.random.default_rng([config.seed, 7, number])
            one = case(world, rng, ORDERS[number % len(ORDERS)])
            found: dict[str, list[float]] = {}
            for name, eased, schedule in _plans(config, durations, one, number, preset == "sample"):
                found.setdefault(name, []).extend(in_plant(world, one, eased, schedule, rng))
            for name, values in found.items():
                rows.setdefault(name, []).append(values)
            advance(1)
    # Late and price for each of the risks; plans that know no risk have them once.
    table = {name: np.array(values) for name, values in rows.items()}
    columns = {f"risk{100 * risk:02.0f}": 2 * place for place, risk in enumerate(RISKS)}
    columns["price"] = 2 * RISKS.index(0.1) + 1

    def summed(name: str, some: slice) -> dict[str, Metric]:
        values = table[name][some]
        return {
            key: mean_by_group(values[:, at % values.shape[1]], np.arange(len(values))) for key, at in columns.items()
        }

    plain = {name: {key: one.value for key, one in summed(name, slice(None)).items()} for name in table}
    slices = [
        Slice(name=f"{orders} orders", group=name, metrics=summed(name, slice(place, None, len(ORDERS))))
        for place, orders in enumerate(ORDERS)
        for name in table
    ]
    floor = plain.pop("planned times")
    del plain[ROBUST], plain["median times"]["price"]  # which promise nothing that could have a price
    report = report_of(
        history.dataset,
        "promised-risk",
        preset,
        True,
        history.sha256,
        metrics=summed(ROBUST, slice(None)),
        floor={"risk10": floor["risk10"]},
        baselines=plain,
        slices=slices,
    )
    return report.model_copy(update={"seconds": Seconds(data=0.0, train=0.0, evaluate=time.perf_counter() - started)})


def _plans(
    config: Config, durations: Durations, one: Case, number: int, quick: bool
) -> Iterator[tuple[str, Problem, Schedule]]:
    """Name, problem and schedule of each way to plan a case: two without a risk, two for each of `RISKS`."""

    def plan(problem: Problem) -> Schedule | None:
        return solve(problem, seconds=QUICK_SECONDS if quick else SOLVE_SECONDS, workers=1, seed=config.seed).schedule

    times = durations.quantiles(one.problem, one.context)
    simple = {"planned times": np.ones(len(times.ratio)), "median times": times.at(0.5)}
    ways = [*simple.items(), *(("every operation at the quantile of the plan", times.at(1 - risk)) for risk in RISKS)]
    for name, ratio in ways:
        eased = stretched(one.problem, ratio)
        schedule = plan(eased)
        assert schedule is not None  # there are no deadlines
        yield name, eased, schedule
    for risk in RISKS:
        made = robust(one.problem, times, risk, plan, draws=config.draws, seed=number)
        yield ROBUST, made.problem, made.schedule


def in_plant(
    world: World, one: Case, eased: Problem, schedule: Schedule, rng: np.random.Generator
) -> tuple[float, float]:
    """Share of runs in the plant that end after the plan, and the plan's makespan over their mean."""
    floor = Floor.of(eased, schedule)
    base = stretched_times(one.problem, np.ones(len(floor.option)))
    actual = np.maximum(1, np.rint(base * one.ratios(world, rng, PLANT_DRAWS))).astype(np.int64)
    ends = floor.job_ends(actual[:, floor.option]).max(axis=1)
    return float((ends > schedule.makespan).mean()), float(schedule.makespan / ends.mean())
