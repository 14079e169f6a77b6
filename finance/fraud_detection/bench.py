"""The reference benchmark: the Handbook's protocols on simulated payments, and published sets split by time.

Settings were chosen at moments that end before the first test of `prequential` begins (`docs/fraud_detection.md`).
"""

from __future__ import annotations

import time

import numpy as np

from common.evaluation.report import Metric, Report, Seconds
from common.progress import bar
from finance.fraud_detection.config import RECIPES, Config
from finance.fraud_detection.data import Events, load, published
from finance.fraud_detection.evaluate import assess, baselines
from finance.fraud_detection.fit import Features, definition_of, fit
from finance.fraud_detection.prequential import moment_of, past_moments, weeks_before
from finance.fraud_detection.speed import speed
from finance.fraud_detection.train import with_recipe

WEEKS = 4
"""Tests of `prequential`, each a week before the next."""


def bench(config: Config, preset: str) -> list[Report]:
    """One report per data set and protocol; the preset `speed` measures time, memory and recovery instead."""
    if preset == "speed":
        return [speed(config)]
    if preset == "sample":
        return [_report(config, load(config), preset)]
    found = []
    with bar("protocols", 2 + len(RECIPES)) as advance:
        events = load(config)
        weekly = [_report(one, events, preset) for one in weeks_before(config, WEEKS)]
        found += [weekly[0], _mean(weekly)]
        advance(2)
        for dataset in RECIPES:
            other = with_recipe(Config(dataset=dataset, seed=config.seed))
            found.append(_report(other, load(other), preset))
            advance(1, dataset)
    return found


def _report(config: Config, events: Events, preset: str) -> Report:
    started = time.perf_counter()
    moments = [moment_of(config, events), *past_moments(config, events)]
    ready = Features(definition_of(config, events), events, moments)
    counted = time.perf_counter()
    fitted = fit(config, events, ready)
    trained = time.perf_counter()
    moment = moments[0]
    test = ready.at(moment.test)
    rivals = {name: model.predict(test) for name, model in fitted.models.items() if name != fitted.champion}
    rivals |= baselines(config, events, moment, ready)
    seconds = Seconds(data=counted - started, train=trained - counted, evaluate=time.perf_counter() - trained)
    return assess(config, events, moment, fitted.score(test), rivals, preset, seconds)


def _mean(reports: list[Report]) -> Report:
    """The mean of tests; its interval is that of their mean, as if they were independent."""

    def joined(name: str) -> Metric:
        some = [report.metrics[name] for report in reports]
        value = float(np.mean([one.value for one in some]))
        half = [
            np.sqrt(np.sum([(getattr(one, end) - one.value) ** 2 for one in some])) / len(some)
            for end in ("low", "high")
        ]
        return Metric(value=value, low=value - half[0], high=value + half[1], n=sum(one.n for one in some))

    first = reports[0]
    known = set.intersection(*(set(report.baselines) for report in reports))
    return first.model_copy(
        update={
            "protocol": "prequential",
            "metrics": {name: joined(name) for name in first.metrics},
            "floor": {name: float(np.mean([r.floor[name] for r in reports])) for name in first.floor},
            "baselines": {
                model: {name: float(np.mean([r.baselines[model][name] for r in reports])) for name in first.metrics}
                for model in first.baselines
                if model in known
            },
            "published": published(first.dataset, "prequential"),
            "slices": [],
            "seconds": Seconds(
                **{stage: sum(getattr(r.seconds, stage) for r in reports) for stage in Seconds.model_fields}
            ),
        }
    )
