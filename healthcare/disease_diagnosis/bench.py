"""The reference benchmark: folds of Cleveland and of Wisconsin, Cleveland's model at three other centres, and the
official split of PneumoniaMNIST.

Everything is fitted inside the training folds. The settings in `config.RECIPES` were found on other fold seeds; the
folds of seed 0, the other centres and the test pictures are opened here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.data.split import repeated_cv
from common.errors import DataError
from common.evaluation.metrics import BINARY, MetricFunction, bootstrap, cv_interval, trivial_floor
from common.evaluation.report import Metric, Report, Seconds, Slice
from common.progress import bar
from healthcare.disease_diagnosis.config import RECIPES, Config
from healthcare.disease_diagnosis.data import Patients, Pictures, load
from healthcare.disease_diagnosis.evaluate import published, report_of
from healthcare.disease_diagnosis.fit import fit_linear
from healthcare.disease_diagnosis.knowledge import BREAST, HEART
from healthcare.disease_diagnosis.measure import sensitivity_at, with_few_labels

FOLDS, REPEATS = 10, 5
DRAWS = 200
"""Of the few labels of a centre: which forty they are changes its coverage by five points."""
PROTOCOL = {HEART: "cleveland-10x5", BREAST: "10x5"}
RIVALS: dict[str, dict[str, Any]] = {
    "logistic alone": {"members": ("logistic",)},
    "additive alone": {"members": ("additive",)},
    "boosting": {"members": ("boosting",)},
    "stacked with boosting": {"members": ("logistic", "additive", "boosting"), "stacked": True},
}
"""What stands beside ours, changes of its settings."""
METRICS: dict[str, MetricFunction] = {
    "auc": BINARY["auc"],
    "brier": BINARY["brier"],
    "sensitivity_at_97": sensitivity_at,
}


def bench(config: Config, preset: str) -> list[Report]:
    """One report per data set and protocol; another preset than `reference` has those of its own data set."""
    if preset != "reference":
        return list(_of(config, preset))
    return [
        report
        for dataset, recipe in RECIPES.items()
        for report in _of(Config.model_validate(recipe | {"seed": config.seed}), preset)
    ]


def _of(config: Config, preset: str) -> Iterator[Report]:
    started = time.perf_counter()
    data = load(config)
    loaded = time.perf_counter() - started
    if isinstance(data, Pictures):
        from healthcare.disease_diagnosis.bench_pictures import bench_pictures  # needs torch

        yield bench_pictures(config, preset, data, loaded)
        return
    yield _folds(config, preset, data, loaded)
    if data.id == HEART:
        home = data.rows(data.site == config.centre)
        for name in np.unique(data.site[data.site != config.centre]):
            yield _external(config, preset, home, data.rows(data.site == name), loaded)


def _folds(config: Config, preset: str, data: Patients, loaded: float) -> Report:
    """Ten folds, five times; probabilities are the model's own, as no fold is left to calibrate on."""
    own = data.rows(data.site == config.centre) if config.centre in data.site else data
    started = time.perf_counter()
    models = {"ours": config, "logistic regression": None} | {
        name: _with(config, changes) for name, changes in RIVALS.items()
    }
    scores: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in models}
    with bar(f"{data.id} {PROTOCOL[data.id]}", FOLDS * REPEATS) as advance:
        for _, fitted_on, tested in repeated_cv(own.y, own.groups, FOLDS, REPEATS, config.seed):
            train, test = own.rows(fitted_on), own.rows(tested)
            for name, one in models.items():
                scores[name].append((tested, _probability(one, train, test)))
            advance(1)
    trained = time.perf_counter()
    metrics = {name: _metric(own.y, scores["ours"], name) for name in METRICS}
    return report_of(
        config,
        own,
        preset=preset,
        protocol=PROTOCOL[data.id],
        metrics=metrics,
        floor={key: value for key, value in trivial_floor(own.y).items() if key in metrics},
        baselines={
            name: {key: _metric(own.y, folds, key, repeats=1).value for key in METRICS}
            for name, folds in scores.items()
            if name != "ours"
        },
        published=published(data.id, PROTOCOL[data.id]),
        slices=_slices(own, scores["ours"]),
        seconds=Seconds(data=loaded, train=trained - started, evaluate=time.perf_counter() - trained),
    )


def _with(config: Config, changes: dict[str, Any]) -> Config:
    return config.model_copy(update={"tabular": config.tabular.model_copy(update=changes)})


def _metric(y: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]], name: str, repeats: int = 300) -> Metric:
    """The mean over folds; a sensitivity at a specificity needs more healthy than a fold has, so folds of a repeat are
    joined."""
    if name == "sensitivity_at_97":
        joined = [folds[i : i + FOLDS] for i in range(0, len(folds), FOLDS)]
        folds = [(np.concatenate([f[0] for f in part]), np.concatenate([f[1] for f in part])) for part in joined]
    return cv_interval(y, folds, METRICS[name], repeats=repeats)


def _probability(config: Config | None, train: Patients, test: Patients) -> np.ndarray:
    if config is None:
        return baseline(train, test)
    return np.asarray(1 / (1 + np.exp(-fit_linear(config, train, test).log_odds(test.columns()))))


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
    return np.asarray(model.fit(numbers(train), train.y).predict_proba(numbers(test))[:, 1])


def _external(config: Config, preset: str, home: Patients, site: Patients, loaded: float) -> Report:
    """All of Cleveland fits, another centre is the test; forty of its labels recalibrate, in many draws."""
    started = time.perf_counter()
    linear = fit_linear(config, home)
    trained = time.perf_counter()
    raw = linear.log_odds(site.columns())
    p = 1 / (1 + np.exp(-raw))
    cuts = [_cut(config, len(site), draw) for draw in range(DRAWS)]
    metrics = {name: bootstrap(site.y, p, METRICS[name]) for name in ("auc", "brier")}
    metrics |= with_few_labels(raw, site.y, site.sex, cuts, config.coverage)
    rivals = {"logistic regression": baseline(home, site)} | {
        name: _probability(_with(config, changes), home, site) for name, changes in RIVALS.items()
    }
    return report_of(
        config,
        site,
        preset=preset,
        protocol=f"external-{site.site[0]}",
        metrics=metrics,
        floor={key: value for key, value in trivial_floor(site.y).items() if key in metrics},
        baselines={
            name: {key: METRICS[key](site.y, q, None) for key in ("auc", "brier")} for name, q in rivals.items()
        },
        published=published(site.id, f"external-{site.site[0]}"),
        slices=_groups(site, partial(_auc_of, site.y, p)),
        seconds=Seconds(data=loaded, train=trained - started, evaluate=time.perf_counter() - trained),
    )


def _cut(config: Config, patients: int, draw: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng([config.seed, draw]).permutation(patients)
    return order[: config.labels_per_site], order[config.labels_per_site :]


def _auc_of(y: np.ndarray, p: np.ndarray, rows: np.ndarray) -> Metric:
    return bootstrap(y[rows], p[rows], BINARY["auc"], repeats=300)


def _slices(data: Patients, folds: list[tuple[np.ndarray, np.ndarray]]) -> list[Slice]:
    """AUC by sex and age band over the mean of the repeats: a group has both findings in few folds."""
    mean = np.zeros(len(data))
    for rows, p in folds:
        mean[rows] += p / REPEATS
    return _groups(data, partial(_auc_of, data.y, mean))


def _groups(data: Patients, measure: partial[Metric]) -> list[Slice]:
    found = []
    for name, groups in (("sex", data.sex), ("age", data.age)):
        names = np.unique(groups)
        for group in names if len(names) > 1 else ():
            try:
                metric = measure(np.flatnonzero(groups == group))
            except DataError:  # one finding alone
                continue
            found.append(Slice(name=name, group=str(group), metrics={"auc": metric}))
    return found
