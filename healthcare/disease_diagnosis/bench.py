"""The reference benchmark: folds of Cleveland and of Wisconsin, Cleveland's models at other centres, and the official
split of PneumoniaMNIST.

Everything is fitted inside the training folds. The settings in `config.REFERENCE` were found on other fold seeds; the
folds of seed 0, the other centres and the test pictures are opened here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.data.card import published
from common.data.split import repeated_cv
from common.evaluation.report import Report, Seconds
from common.progress import bar
from healthcare.disease_diagnosis.config import REFERENCE, Config
from healthcare.disease_diagnosis.data import Patients, Pictures, load
from healthcare.disease_diagnosis.evaluate import report_of
from healthcare.disease_diagnosis.fit import fit_linear
from healthcare.disease_diagnosis.measure import (
    Folds,
    each_against_the_rest,
    floor_of,
    measured,
    slices,
    with_few_labels,
)
from healthcare.disease_diagnosis.promise import chances

FOLDS, REPEATS = 10, 5
DRAWS = 200
"""Of the few labels of a centre: which forty they are changes its coverage by five points."""
RIVALS: dict[str, dict[str, Any]] = {
    "logistic alone": {"members": ("logistic",)},
    "additive alone": {"members": ("additive",)},
    "boosting": {"members": ("boosting",)},
    "stacked with boosting": {"members": ("logistic", "additive", "boosting"), "stacked": True},
}
"""What stands beside ours, changes of its settings."""


def bench(config: Config, preset: str) -> list[Report]:
    """A report for each data set and protocol; another preset than `reference` has those of its own data set."""
    configs = [config]
    if preset == "reference":
        configs = [Config.model_validate(recipe | {"seed": config.seed}) for recipe in REFERENCE.values()]
    return [report for one in configs for report in _of(one, preset)]


def _of(config: Config, preset: str) -> Iterator[Report]:
    started = time.perf_counter()
    data = load(config)
    loaded = time.perf_counter() - started
    if isinstance(data, Pictures):
        from healthcare.disease_diagnosis.evaluate_pictures import bench_pictures

        yield bench_pictures(config, preset, data, loaded)
        return
    centres = config.centre in data.site
    for name, part in data.questions().items():
        suffix = {"disease": "", "severity": "-severity", "findings": f"-{name or 'bedside'}"}[config.target]
        own = part.rows(part.site == config.centre) if centres else part
        yield _folds(config, preset, own, ("cleveland-10x5" if centres else "10x5") + suffix, loaded)
        for site in np.unique(part.site[part.site != config.centre]) if centres else ():
            there = part.rows(part.site == site)
            # Half of them at least are to be left when some have been taken for recalibration.
            if len(there) >= 2 * config.labels_per_site and len(np.unique(there.diseased)) == 2:
                yield _external(config, preset, own, there, f"external-{site}{suffix}", loaded)


def _names(data: Patients) -> tuple[str, ...]:
    return ("auc", "brier", *(("accuracy", "log_loss") if len(data.findings) > 2 else ()))


def _folds(config: Config, preset: str, own: Patients, protocol: str, loaded: float) -> Report:
    """Ten folds, five times; probabilities are the model's own, as no fold is left to calibrate on."""
    started = time.perf_counter()
    models = {"ours": config, "logistic regression": None} | _rivals(config)
    scores: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in models}
    with bar(f"{own.id} {protocol}", FOLDS * REPEATS) as advance:
        for _, fitted_on, tested in repeated_cv(own.y, own.groups, FOLDS, REPEATS, config.seed):
            train, test = own.rows(fitted_on), own.rows(tested)
            for name, one in models.items():
                scores[name].append((tested, _probabilities(one, train, test)))
            advance(1)
    trained = time.perf_counter()
    found = {name: _measured(own, folds, 300 if name == "ours" else 1) for name, folds in scores.items()}
    metrics = found.pop("ours")
    mean = np.zeros((len(own), len(own.findings)))
    for rows, p in scores["ours"]:
        mean[rows] += p / REPEATS  # a group has both findings in few folds
    return report_of(
        own,
        preset=preset,
        protocol=protocol,
        metrics=metrics,
        floor=floor_of(own.y, metrics),
        baselines={name: {key: metric.value for key, metric in one.items()} for name, one in found.items()},
        published=published(own.id, protocol),
        slices=_slices(own, mean),
        seconds=Seconds(data=loaded, train=trained - started, evaluate=time.perf_counter() - trained),
    )


def _measured(own: Patients, folds: Folds, repeats: int) -> dict[str, Any]:
    """Means over folds; a sensitivity at a specificity needs more healthy than a fold has, so folds of a repeat are
    joined."""
    repeated = [folds[i : i + FOLDS] for i in range(0, len(folds), FOLDS)]
    joined = [(np.concatenate([f[0] for f in part]), np.concatenate([f[1] for f in part])) for part in repeated]
    found = measured(own.y, folds, _names(own), repeats)
    return found | measured(own.y, joined, ("sensitivity_at_97",), repeats)


def _external(config: Config, preset: str, home: Patients, site: Patients, protocol: str, loaded: float) -> Report:
    """All of Cleveland fits, another centre is the test; forty of its labels recalibrate, in many draws."""
    started = time.perf_counter()
    linear = fit_linear(config, home)
    trained = time.perf_counter()
    raw = linear.log_odds(site.columns())
    orders = [np.random.default_rng([config.seed, draw]).permutation(len(site)) for draw in range(DRAWS)]
    cuts = [(order[: config.labels_per_site], order[config.labels_per_site :]) for order in orders]
    whole, names = np.arange(len(site)), _names(site)
    metrics = measured(site.y, [(whole, chances(raw))], names)
    metrics |= with_few_labels(raw, site.y, site.sex, cuts, config.coverage)
    models = {"logistic regression": None} | _rivals(config)
    rivals = {name: _probabilities(one, home, site) for name, one in models.items()}
    found = {name: measured(site.y, [(whole, p)], names, 1) for name, p in rivals.items()}
    return report_of(
        site,
        preset=preset,
        protocol=protocol,
        metrics=metrics,
        floor=floor_of(site.y, metrics),
        baselines={name: {key: metric.value for key, metric in one.items()} for name, one in found.items()},
        published=published(site.id, protocol),
        slices=_slices(site, chances(raw)),
        seconds=Seconds(data=loaded, train=trained - started, evaluate=time.perf_counter() - trained),
    )


def _rivals(config: Config) -> dict[str, Config]:
    return {
        name: config.model_copy(update={"tabular": config.tabular.model_copy(update=changes)})
        for name, changes in RIVALS.items()
    }


def _probabilities(config: Config | None, train: Patients, test: Patients) -> np.ndarray:
    if config is None:
        return baseline(train, test)
    return chances(fit_linear(config, train, test).log_odds(test.columns()))


def _slices(data: Patients, p: np.ndarray) -> list[Any]:
    groups = {"sex": data.sex, "age": data.age}
    return slices(data.y, p, groups) + each_against_the_rest(data.y, p, data.findings)


def baseline(train: Patients, test: Patients) -> np.ndarray:
    """Logistic regression as the card's: codes as numbers, medians for what is missing, scaled, C = 0.1."""

    def numbers(part: Patients) -> np.ndarray:
        columns = []
        for field in part.fields:
            code = dict(zip(field.levels, field.codes, strict=True))
            values = part.frame[field.name]
            columns.append([np.nan if v is None else float(code.get(v, v)) for v in values])
        return np.array(columns, float).T

    model = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    return np.asarray(model.fit(numbers(train), train.y).predict_proba(numbers(test)))
