"""What is measured of answers: who is told apart, how often sets hold the true finding, what acting is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from common.evaluation.metrics import (
    MetricFunction,
    auc,
    bootstrap,
    brier,
    cv_interval,
    ece,
    interval,
    trivial_floor,
    wilson,
)
from common.evaluation.plot_style import BLUE, GREY, ORANGE, STYLE, page_figure
from common.evaluation.report import Metric, Slice
from healthcare.disease_diagnosis.promise import Site, site_of

FEWEST_OF_A_LABEL = 5
"""In a slice, or its AUC is left out."""
SPECIFICITY = 0.97
Folds = Sequence[tuple[np.ndarray, np.ndarray]]
"""Positions (rows,) and the probabilities (rows, findings) there."""


def sensitivity_at(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Sensitivity at the highest threshold whose specificity is at least .97 (rows drawn `weight` times)."""
    weight = np.ones(len(y)) if weight is None else np.asarray(weight, float)
    order = np.argsort(-p, kind="stable")
    alarms = np.cumsum(weight[order] * (1 - y[order])) / max(float((weight * (1 - y)).sum()), 1e-9)
    found = np.cumsum(weight[order] * y[order]) / max(float((weight * y).sum()), 1e-9)
    last = np.append(p[order][1:] != p[order][:-1], True)  # equal scores stand or fall together
    good = last & (alarms <= 1 - SPECIFICITY + 1e-12)
    return float(found[good].max()) if good.any() else 0.0


def _mean(_: Any, p: Any, weight: Any = None) -> float:
    return float(np.average(p, weights=weight))


def _ill(_: np.ndarray, p: np.ndarray) -> np.ndarray:
    return 1 - p[:, 0]


MEASURES: dict[str, tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], MetricFunction]] = {
    "auc": (_ill, auc),
    "brier": (_ill, brier),
    "ece": (_ill, ece),
    "sensitivity_at_97": (_ill, sensitivity_at),
    "accuracy": (lambda y, p: p.argmax(axis=1) == y, _mean),
    "log_loss": (lambda y, p: -np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)), _mean),
}
"""A row's number by label and probabilities, and what is made of it and of whether there is any disease."""


def measured(y: np.ndarray, folds: Folds, names: Iterable[str], repeats: int = 1000) -> dict[str, Metric]:
    """Means over folds, with intervals; labels (n,) are places of findings."""
    found = {}
    for name in names:
        of_rows, metric = MEASURES[name]
        scores = [(rows, of_rows(y[rows], p)) for rows, p in folds]
        found[name] = cv_interval(y > 0, scores, metric, repeats)
    return found


def floor_of(y: np.ndarray, names: Iterable[str]) -> dict[str, float]:
    """What the base rates, said of everybody, have in those of these metrics where that means something."""
    rates = np.bincount(y) / len(y)
    known = trivial_floor(y > 0) | {"accuracy": float(rates.max())}
    known["log_loss"] = float(-(rates * np.log(np.maximum(rates, 1e-12))).sum())
    return {name: known[name] for name in names if name in known}


def share(events: np.ndarray) -> Metric:
    """How often, bool (n,), with its Wilson interval."""
    low, high = wilson(events.sum(), len(events))
    return Metric(value=float(events.mean()), low=float(low), high=float(high), n=len(events))


def mean_of(values: np.ndarray) -> Metric:
    """The mean of (n,) with its bootstrap interval."""
    draws = [values[rows].mean() for rows in np.random.default_rng(0).integers(0, len(values), (500, len(values)))]
    low, high = interval(float(values.mean()), draws)
    return Metric(value=float(values.mean()), low=low, high=high, n=len(values))


def held(sets: np.ndarray, y: np.ndarray) -> np.ndarray:
    """bool (rows,): whether the set, bool (rows, findings), holds the true finding."""
    return sets[np.arange(len(y)), y]


def referred(sets: np.ndarray) -> np.ndarray:
    """bool (rows,): whether not exactly one finding is left."""
    return sets.sum(axis=1) != 1


def promise_kept(name: str, sets: np.ndarray, y: np.ndarray) -> dict[str, Metric]:
    """Coverage under `name`, size of the sets, referrals, and errors among those answered."""
    answered = ~referred(sets)
    found = {
        name: share(held(sets, y)),
        "set_size": mean_of(sets.sum(axis=1).astype(float)),
        "referral_rate": share(~answered),
    }
    return found | ({"answered_accuracy": share(held(sets, y)[answered])} if answered.any() else {})


def slices(y: np.ndarray, p: np.ndarray, by: dict[str, np.ndarray], sets: np.ndarray | None = None) -> list[Slice]:
    """By group: coverage, size of sets and referrals, and AUC of disease where both labels occur often enough."""
    found, ill, sick = [], 1 - p[:, 0], (y > 0).astype(int)
    for name, groups in by.items():
        names = np.unique(groups)
        for group in names if len(names) > 1 else ():
            rows, metrics = groups == group, {}
            if sets is not None:
                metrics = promise_kept("coverage", sets[rows], y[rows])
                metrics.pop("answered_accuracy", None)
            if min(sick[rows].sum(), (1 - sick[rows]).sum()) >= FEWEST_OF_A_LABEL:
                metrics |= {key: bootstrap(sick[rows], ill[rows], MEASURES[key][1], 300) for key in ("auc", "ece")}
            if metrics:
                found.append(Slice(name=name, group=str(group), metrics=metrics))
    return found


def each_against_the_rest(y: np.ndarray, p: np.ndarray, findings: Sequence[str]) -> list[Slice]:
    """AUC of each of several findings against all others; nothing for two, which have one AUC."""
    found = []
    for k, name in enumerate(findings if len(findings) > 2 else ()):
        if min((y == k).sum(), (y != k).sum()) >= FEWEST_OF_A_LABEL:
            value = bootstrap((y == k).astype(int), p[:, k], auc, 300)
            found.append(Slice(name="against the rest", group=name, metrics={"auc": value}))
    return found


def with_few_labels(
    raw: np.ndarray, y: np.ndarray, group: np.ndarray, cuts: Folds, coverage: float
) -> dict[str, Metric]:
    """Coverage, size of sets, referrals, Brier score of a site recalibrated by few labels, over many draws of them.

    Of log-odds (n, findings - 1). `cuts` are (labelled, tested) positions. A patient's value is the mean over the draws
    in which he is tested; intervals draw patients.
    """
    names = ("coverage90", "set_size", "referral_rate", "brier_recalibrated")
    total, times = np.zeros((len(names), len(y))), np.zeros(len(y))
    for labelled, tested in cuts:
        site: Site = site_of(raw[labelled], y[labelled], group[labelled])
        place = np.zeros(len(tested), int)
        p = site.chances(raw[tested], place)
        sets = site.sets(p, coverage, place, group[tested])
        error = (p[:, 0] - (y[tested] == 0)) ** 2
        total[:, tested] += np.array([held(sets, y[tested]), sets.sum(axis=1), referred(sets), error], float)
        times[tested] += 1
    mean = (total / np.maximum(times, 1))[:, times > 0]
    return {name: mean_of(values) for name, values in zip(names, mean, strict=True)}


def net_benefit(y: np.ndarray, p: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """True alarms less false ones at the odds of the threshold, per patient (Vickers & Elkin, 2006)."""
    act = p[None, :] >= thresholds[:, None]
    return np.asarray((act & (y == 1)).mean(axis=1) - (act & (y == 0)).mean(axis=1) * thresholds / (1 - thresholds))


@rc_context(STYLE)
def decision_curve(y: np.ndarray, p: np.ndarray, threshold: float) -> Figure:
    """Net benefit of acting on the model, on everybody and on nobody, over thresholds up to one half."""
    thresholds = np.linspace(0.01, 0.5, 50)
    ours, all_ = net_benefit(y, p, thresholds), net_benefit(y, np.ones(len(y)), thresholds)
    figure, (axes,) = page_figure(3.2)
    axes.plot(thresholds, ours, color=BLUE, label="by the model")
    axes.plot(thresholds, all_, color=ORANGE, linestyle="--", label="everybody")
    axes.axhline(0, color=GREY, linestyle=":", linewidth=1.2, label="nobody")
    axes.axvline(threshold, color=GREY, linewidth=0.8)
    at = np.array([threshold])
    gain = float(net_benefit(y, p, at)[0] - max(0.0, net_benefit(y, np.ones(len(y)), at)[0]))
    title = f"Net benefit at {threshold:.2f}: {gain:+.3f} against all or nobody"
    axes.set(xlabel="threshold probability", ylabel="net benefit per patient", title=title, ylim=(-0.05, None))
    axes.legend()
    figure.set_label(title + ".")
    return figure
