"""The reference benchmark: the Handbook's protocols on simulated payments, and published sets split by time.

Settings were chosen at moments that end before the first test of `prequential` begins (`docs/fraud_detection.md`).
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import numpy as np
from sklearn.model_selection import train_test_split

from common.evaluation.metrics import ap
from common.evaluation.report import Metric, Report, Seconds
from common.progress import bar
from finance.fraud_detection.config import RECIPES, Config
from finance.fraud_detection.data import SFFSD, Events, load, published
from finance.fraud_detection.evaluate import assess, baselines
from finance.fraud_detection.fit import Features, definition_of, fit, fit_models
from finance.fraud_detection.prequential import Moment, moment_of, past_moments, weeks_before
from finance.fraud_detection.speed import speed
from finance.fraud_detection.train import with_recipe

TRAINED = 0.4
"""Of the labelled rows, in the repository of S-FFSD."""
WEEKS = 4
"""Tests of `prequential`, each a week before the next."""


def bench(config: Config, preset: str) -> list[Report]:
    """One report per data set and protocol; the preset `speed` measures time, memory and recovery instead."""
    if preset == "speed":
        return [speed(config)]
    if preset == "sample":
        return [_report(config, load(config), preset)]
    found = []
    with bar("protocols", 3 + len(RECIPES)) as advance:
        events = load(config)
        weekly = [_report(one, events, preset) for one in weeks_before(config, WEEKS)]
        found += [weekly[0], _mean(weekly)]
        advance(2)
        for dataset in RECIPES:
            other = with_recipe(Config(dataset=dataset, seed=config.seed))
            loaded = load(other)
            found.append(_report(other, loaded, preset))
            advance(1, dataset)
            if dataset == SFFSD:
                found.append(_repository(other, loaded, preset))
                advance(1, "repository")
    return found


def _repository(config: Config, events: Events, preset: str) -> Report:
    """The split of S-FFSD's repository: 40 % of the labelled rows, drawn by label, to train on, and the rest to test.

    Labels of the test rows are hidden from the features; the past is still all that these see. Where the repository's
    models see train and test at once, this is for comparison only: tomorrow's frauds teach about yesterday's.
    """
    started = time.perf_counter()
    labelled = np.flatnonzero(events.fraud >= 0)
    split = partial(train_test_split, random_state=config.seed)
    train, test = split(labelled, train_size=TRAINED, stratify=events.fraud[labelled])
    fraud = events.fraud.copy()
    fraud[test] = -1
    moment = Moment(0, np.sort(train), np.sort(test))
    ready = Features(definition_of(config, events), replace(events, fraud=fraud), [moment])
    counted = time.perf_counter()
    first, held = split(moment.train, train_size=0.75, stratify=events.fraud[moment.train])
    y = events.fraud
    tried = {name: ap(y[held], m.predict(*ready.at(held))) for name, m in fit_models(config, ready.at(first), y[first])}
    scores = {name: m.predict(*ready.at(moment.test)) for name, m in fit_models(config, ready.at(train), y[train])}
    champion = scores.pop(max(tried, key=lambda name: tried[name]))
    trained = time.perf_counter()
    seconds = Seconds(data=counted - started, train=trained - counted, evaluate=0.0)
    return assess(config, events, moment, champion, scores, preset, seconds, "repository")


def _report(config: Config, events: Events, preset: str) -> Report:
    started = time.perf_counter()
    moments = [moment_of(config, events), *past_moments(config, events)]
    ready = Features(definition_of(config, events), events, moments)
    counted = time.perf_counter()
    fitted = fit(config, events, ready)
    trained = time.perf_counter()
    moment = moments[0]
    test = ready.at(moment.test)
    rivals = {name: model.predict(*test) for name, model in fitted.models.items() if name != fitted.champion}
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
