"""What was learnt against what is simple: quantiles, promised risks, and the dispatching policy.

`reports` are the rows of the benchmark, `evaluate` is the report and the page of one bundle. The weeks of the test are
opened here and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from common.bundle import Bundle
from common.evaluation.page import Section
from common.evaluation.plot_style import BLUE, GREY, STYLE, page_figure
from common.evaluation.report import Metric, Report, Seconds, Slice
from manufacturing.production_scheduling.config import Config
from manufacturing.production_scheduling.durations import GROUPS, Durations
from manufacturing.production_scheduling.history import History, load, split
from manufacturing.production_scheduling.learn_policy import learn_policy
from manufacturing.production_scheduling.measures import mean_by_group, report_of
from manufacturing.production_scheduling.policy import Policy
from manufacturing.production_scheduling.policy_report import SHOPS, of_policy, on_random_shops
from manufacturing.production_scheduling.quantiles import baselines, covered, fit_durations, pinball, predicted
from manufacturing.production_scheduling.risk_report import of_risk
from manufacturing.production_scheduling.train import row_ids

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
        {"quantiles": name, **{key: f"{values[key]:.4f}" if key in values else "–" for key in report.metrics}}
        for name, values in {"learnt": _values(report), **report.baselines, "planned time": report.floor}.items()
    ]
    text = (
        "Times of the test weeks over planned ones. The share below a quantile should be its level: above the line "
        "they take less time than said, below it more."
    )
    figure = calibration_figure(parts["test"], durations)
    dispatching = Section(
        "Dispatching",
        f"Makespans of {SHOPS} random shops of each kind over those of the rule MWKR (most work remaining): below 1 is "
        "better. Each is one run, without delay; the rules are SPT, ATC (due at 1.3 times the work), FIFO, and the "
        "shortest setup, then MWKR.",
        table=on_random_shops(Policy.of_bundle(bundle)),
    )
    sections = [Section("Processing times", text, [figure], table), dispatching]
    return report.model_copy(update={"seconds": seconds}), sections


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
    return report_of(
        test.dataset,
        "time-split",
        preset,
        test.simulated,
        test.sha256,
        metrics=summed(found),
        floor={"pinball": plain(planned)["pinball"]},
        # A single number has no interval whose width could be compared.
        baselines={
            "historical mean": {"pinball": plain(rivals["historical mean"])["pinball"]},
            "historical quantiles": plain(rivals["historical quantiles"]),
        },
        slices=slices,
    )


@rc_context(STYLE)
def calibration_figure(test: History, durations: Durations) -> Figure:
    """The share of times below each quantile, against its level."""
    found = predicted(durations, test)
    inside = covered(test.ratio, found, durations.levels).mean()
    figure, (axes,) = page_figure(3.4)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2)
    axes.plot(durations.levels, (test.ratio[:, None] <= found).mean(axis=0), "o-", color=BLUE)
    title = f"{inside:.0%} of times are in their 80 % interval"
    axes.set(xlabel="level of the quantile", ylabel="share of times below it", title=title)
    axes.set_box_aspect(1)
    figure.set_label(f"Calibration of the quantiles: the share of times below each, against its level; {title}.")
    return figure


def _values(report: Report) -> dict[str, float]:
    return {name: metric.value for name, metric in report.metrics.items()}
