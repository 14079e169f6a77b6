"""What was learnt against what is simple: quantiles, promised risks, and the dispatching policy.

`reports` are the rows of the benchmark, `evaluate` is the report and the page of one bundle. The weeks of the test are
opened here and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from common.bundle import Bundle
from common.evaluation.metrics import interval
from common.evaluation.page import Section
from common.evaluation.plot_style import BLUE, page_figure
from common.evaluation.report import Metric, Report, Seconds, Slice
from common.progress import bar
from common.provenance import commit, machine, peak_rss_mb
from manufacturing.production_scheduling import SYSTEM
from manufacturing.production_scheduling.config import Config
from manufacturing.production_scheduling.data import CLASSIC, bounds, instances
from manufacturing.production_scheduling.data import load as load_instance
from manufacturing.production_scheduling.durations import GROUPS, Durations, stretched, stretched_times
from manufacturing.production_scheduling.episodes import best_of, job_shop, random_shop, run
from manufacturing.production_scheduling.history import History, load, split
from manufacturing.production_scheduling.learn_policy import learn_policy
from manufacturing.production_scheduling.plant import Case, World, case
from manufacturing.production_scheduling.policy import RULES, Policy, of_rule
from manufacturing.production_scheduling.policy_kernels import JobShop, Network
from manufacturing.production_scheduling.problem import Problem, Schedule
from manufacturing.production_scheduling.quantiles import baselines, covered, fit_durations, pinball, predicted
from manufacturing.production_scheduling.robust import robust
from manufacturing.production_scheduling.simulation import Floor
from manufacturing.production_scheduling.solve import solve
from manufacturing.production_scheduling.train import row_ids

RESAMPLES = 1_000
CASES, SAMPLE_CASES = 60, 6
"""Job shops of the simulated plant that are planned with a promised risk."""
ORDERS = (5, 10, 30)
"""Their sizes, in turn."""
PLANT_DRAWS = 2_000
"""Runs of each plan in the plant."""
SOLVE_SECONDS = 1.0
"""Of each of the plans that a robust one is chosen from."""
SAMPLES = 64
"""Runs of best-of-k."""
SCALES = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Of a rule's score, when its choices are drawn: the best on random shops is taken."""
HIDDEN = sum(1 << bit for bit, name in enumerate(GROUPS) if name not in ("machine", "family"))
"""The pattern of a request without a context."""


def evaluate(bundle: Bundle) -> tuple[Report, list[Section]]:
    """The test weeks with the quantiles of a bundle; raises `DataError` when they are not those kept closed."""
    started = time.perf_counter()
    config = Config.model_validate(bundle.manifest.config)
    parts = split(load(config), config)
    bundle.check_test_rows(row_ids(parts["test"]))
    loaded = time.perf_counter()
    durations = Durations.of_bundle(bundle)
    report = of_quantiles(parts, durations, "bundle")
    seconds = Seconds(data=loaded - started, train=0.0, evaluate=time.perf_counter() - loaded)
    table = [
        {"quantiles": name, **{key: f"{value:.4f}" for key, value in values.items()}}
        for name, values in {"learnt": _values(report), **report.baselines, "planned time": report.floor}.items()
    ]
    text = (
        "Times of the test weeks over planned ones. The share below a quantile should be its level: above the line "
        "they take less time than said, below it more."
    )
    figure = calibration_figure(parts["test"], durations)
    return report.model_copy(update={"seconds": seconds}), [Section("Processing times", text, [figure], table)]


def reports(config: Config, preset: str) -> list[Report]:
    """Time-split quantiles, promised risk (of a simulated plant only), and, where data are there, the policy."""
    started = time.perf_counter()
    history = load(config)
    parts = split(history, config)
    loaded = time.perf_counter()
    durations = fit_durations(config.quantiles, parts, config.minutes_per_unit, config.seed)[0]
    trained = time.perf_counter()
    first = of_quantiles(parts, durations, preset)
    seconds = Seconds(data=loaded - started, train=trained - loaded, evaluate=time.perf_counter() - trained)
    found = [first.model_copy(update={"seconds": seconds})]
    if history.simulated:
        found.append(of_risk(config, history, durations, preset))
    if preset != "sample":
        started = time.perf_counter()
        policy = learn_policy(config.policy, config.seed)[0]
        found.append(of_policy(policy, preset, time.perf_counter() - started))
    return found


def of_quantiles(parts: Mapping[str, History], durations: Durations, preset: str) -> Report:
    """Pinball loss, coverage and width of the 80 % interval in the test weeks; intervals draw days."""
    test, levels = parts["test"], durations.levels
    past = {name: part for name, part in parts.items() if name != "test"}
    rivals = baselines(past, test, levels)
    planned = np.ones((len(test), len(levels)))
    day = test.start // 86_400

    def measures(quantile: np.ndarray) -> dict[str, np.ndarray]:
        low, high = (quantile[:, int(np.flatnonzero(levels == level)[0])] for level in (0.1, 0.9))
        return {
            "pinball": pinball(test.ratio, quantile, levels),
            "coverage80": covered(test.ratio, quantile, levels).astype(float),
            "width80": high - low,
        }

    def summed(quantile: np.ndarray) -> dict[str, Metric]:
        return {name: mean_by_group(values, day) for name, values in measures(quantile).items()}

    def plain(quantile: np.ndarray) -> dict[str, float]:
        return {name: float(values.mean()) for name, values in measures(quantile).items()}

    slices = [Slice(name="known", group="machine and family only", metrics=summed(predicted(durations, test, HIDDEN)))]
    found = predicted(durations, test)
    for name in np.unique(test.shift[test.shift != ""]).tolist():
        rows = test.shift == name
        own = {key: mean_by_group(values[rows], day[rows]) for key, values in measures(found).items()}
        slices.append(Slice(name="shift", group=name, metrics=own))
    return _report(
        test.dataset,
        "time-split",
        preset,
        test.simulated,
        test.sha256,
        metrics=summed(found),
        floor={"pinball": plain(planned)["pinball"]},
        baselines={name: plain(quantile) for name, quantile in rivals.items()},
        slices=slices,
    )


def of_risk(config: Config, history: History, durations: Durations, preset: str) -> Report:
    """Plans of the simulated plant with a promised risk, run in the plant itself and not in the model of it.

    `risk10` is the share of runs that end later than their plan says, where .1 was promised (or `config.risk`); `price`
    is the promised makespan over the mean of the runs. The floor plans with planned times.
    """
    started = time.perf_counter()
    world = World.of(config.plant, config.seed)
    count = SAMPLE_CASES if preset == "sample" else CASES
    rows: dict[str, list[tuple[float, float]]] = {}
    seconds = 0.2 if preset == "sample" else SOLVE_SECONDS

    def plan(problem: Problem) -> Schedule | None:
        return solve(problem, seconds=seconds, workers=1, seed=config.seed).schedule

    with bar("promised risk", count) as advance:
        for number in range(count):
            rng = np.random.default_rng([config.seed, 7, number])
            one = case(world, rng, ORDERS[number % len(ORDERS)])
            times = durations.quantiles(one.problem, one.context)
            made = robust(one.problem, times, config.risk, plan, draws=config.draws, seed=number)
            plans = {"robust": (made.problem, made.schedule)}
            for name, ratio in {
                "planned times": np.ones(len(times.ratio)),
                "median times": times.at(0.5),
                "every operation at its quantile .9": times.at(1 - config.risk),
            }.items():
                eased = stretched(one.problem, ratio)
                schedule = plan(eased)
                assert schedule is not None  # there are no deadlines
                plans[name] = eased, schedule
            for name, (eased, schedule) in plans.items():
                rows.setdefault(name, []).append(in_plant(world, one, eased, schedule, rng))
            advance(1)
    table = {name: np.array(values) for name, values in rows.items()}
    each = np.arange(count)
    own = table.pop("robust")
    metrics = {"risk10": mean_by_group(own[:, 0], each), "price": mean_by_group(own[:, 1], each)}
    plain = {name: {"risk10": float(v[:, 0].mean()), "price": float(v[:, 1].mean())} for name, v in table.items()}
    slices = []
    for place, orders in enumerate(ORDERS):
        rows_of = slice(place, None, len(ORDERS))
        for name, values in {"robust": own, **table}.items():
            some = {
                "risk10": mean_by_group(values[rows_of, 0], each[rows_of]),
                "price": mean_by_group(values[rows_of, 1], each[rows_of]),
            }
            slices.append(Slice(name=f"{orders} orders", group=name, metrics=some))
    report = _report(
        history.dataset,
        "promised-risk",
        preset,
        True,
        history.sha256,
        metrics=metrics,
        floor={"risk10": plain.pop("planned times")["risk10"]},
        baselines=plain,
        slices=slices,
    )
    return report.model_copy(update={"seconds": Seconds(data=0.0, train=0.0, evaluate=time.perf_counter() - started)})


def in_plant(
    world: World, one: Case, eased: Problem, schedule: Schedule, rng: np.random.Generator
) -> tuple[float, float]:
    """Share of runs in the plant that end after the plan, and the plan's makespan over their mean."""
    floor = Floor.of(eased, schedule)
    base = stretched_times(one.problem, np.ones(len(floor.option)))
    actual = np.maximum(1, np.rint(base * one.ratios(world, rng, PLANT_DRAWS))).astype(np.int64)
    ends = floor.job_ends(actual[:, floor.option]).max(axis=1)
    return float((ends > schedule.makespan).mean()), float(schedule.makespan / ends.mean())


def of_policy(policy: Policy, preset: str, train_seconds: float) -> Report:
    """Gap of dispatching to the best known makespan on the classic instances: one run, and the best of 64.

    All are non-delay and run in the same simulator, and the first of the 64 is the one run.
    """
    started = time.perf_counter()
    names, best = instances(CLASSIC), bounds(CLASSIC)
    shops = [job_shop(load_instance(CLASSIC, name)) for name in names]
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
    report = _report(
        CLASSIC,
        "dispatching",
        preset,
        False,
        _sha256_of(CLASSIC),
        metrics={"gap": mean_by_group(one, each), "gap_best64": mean_by_group(many, each)},
        floor=chance,
        baselines=rules,
        slices=slices,
    )
    seconds = Seconds(data=loaded - started, train=train_seconds, evaluate=time.perf_counter() - loaded)
    return report.model_copy(update={"seconds": seconds})


def soften(rule: Network) -> Network:
    """The rule with the scale at which the best of drawn runs is best on random shops, which are no test instances."""
    rng = np.random.default_rng(8)
    shops = [random_shop(rng, 10, 10) for _ in range(20)]
    scaled = [rule._replace(linear=rule.linear * scale) for scale in SCALES]
    return min(scaled, key=lambda net: sum(best_of(shop, net, 16, 0) for shop in shops))


def mean_by_group(values: np.ndarray, group: np.ndarray) -> Metric:
    """The mean of values (rows,) with its 95 % interval over draws of whole groups (rows,)."""
    code = np.unique(group, return_inverse=True)[1]
    total, count = np.bincount(code, weights=values), np.bincount(code)
    drawn = np.random.default_rng(0).integers(0, len(count), (RESAMPLES, len(count)))
    value = float(values.mean())
    low, high = interval(value, total[drawn].sum(axis=1) / count[drawn].sum(axis=1))
    return Metric(value=value, low=low, high=high, n=len(values))


def calibration_figure(test: History, durations: Durations) -> Figure:
    """The share of times below each quantile, against its level."""
    found = predicted(durations, test)
    figure, (axes,) = page_figure(3.4)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    axes.plot(durations.levels, (test.ratio[:, None] <= found).mean(axis=0), "o-", color=BLUE)
    axes.set(xlabel="level of the quantile", ylabel="share of times below it", title="Calibration in the test weeks")
    figure.set_label("Calibration of the quantiles: share of times below each, against its level")
    return figure


def _values(report: Report) -> dict[str, float]:
    return {name: metric.value for name, metric in report.metrics.items()}


def _sha256_of(dataset: str) -> str:
    from common.data.card import load_card
    from common.data.fetch import data_sha256

    return data_sha256(load_card(dataset))


def _report(
    dataset: str,
    protocol: str,
    preset: str,
    simulated: bool,
    sha256: str,
    *,
    metrics: Mapping[str, Metric],
    floor: Mapping[str, float],
    baselines: Mapping[str, Mapping[str, float]],
    slices: list[Slice] | None = None,
) -> Report:
    return Report(
        system=SYSTEM.name,
        preset=preset,
        dataset=dataset,
        protocol=protocol,
        simulated=simulated,
        data_sha256=sha256,
        metrics=dict(metrics),
        floor=dict(floor),
        baselines={name: dict(values) for name, values in baselines.items()},
        slices=slices or [],
        seconds=Seconds(data=0.0, train=0.0, evaluate=0.0),
        peak_rss_mb=peak_rss_mb(),
        machine=machine(),
        commit=commit(),
    )
