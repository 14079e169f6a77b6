"""What is measured of answers: how often sets hold the true finding, how many are referred, what acting is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from common.evaluation.metrics import BINARY, auc, bootstrap, brier, ece, interval, wilson
from common.evaluation.plot_style import BLUE, GREY, ORANGE, STYLE, page_figure
from common.evaluation.report import Metric, Slice
from healthcare.disease_diagnosis.promise import Site

FEWEST_OF_A_LABEL = 5
"""In a slice, or its AUC is left out."""
SPECIFICITY = 0.97


def share(events: np.ndarray) -> Metric:
    """How often, bool (n,), with its Wilson interval."""
    low, high = wilson(events.sum(), len(events))
    return Metric(value=float(events.mean()), low=float(low), high=float(high), n=len(events))


def held(sets: np.ndarray, y: np.ndarray) -> np.ndarray:
    """bool (rows,): whether the set, bool (rows, 2), holds the true finding."""
    return sets[np.arange(len(y)), y]


def referred(sets: np.ndarray) -> np.ndarray:
    """bool (rows,): whether not exactly one finding is left."""
    return sets.sum(axis=1) != 1


def promise_kept(name: str, sets: np.ndarray, y: np.ndarray) -> dict[str, Metric]:
    """Coverage under `name`, size of the sets, referrals, and errors among those answered."""
    size = sets.sum(axis=1).astype(float)
    draws = [size[rows].mean() for rows in np.random.default_rng(0).integers(0, len(y), (500, len(y)))]
    low, high = interval(float(size.mean()), draws)
    answered = ~referred(sets)
    found = {
        name: share(held(sets, y)),
        "set_size": Metric(value=float(size.mean()), low=low, high=high, n=len(y)),
        "referral_rate": share(referred(sets)),
    }
    return found | ({"answered_accuracy": share(held(sets, y)[answered])} if answered.any() else {})


def sensitivity_at(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Sensitivity at the highest threshold whose specificity is at least .97 (rows drawn `weight` times)."""
    weight = np.ones(len(y)) if weight is None else np.asarray(weight, float)
    order = np.argsort(-p, kind="stable")
    alarms = np.cumsum(weight[order] * (1 - y[order])) / max(float((weight * (1 - y)).sum()), 1e-9)
    found = np.cumsum(weight[order] * y[order]) / max(float((weight * y).sum()), 1e-9)
    last = np.append(p[order][1:] != p[order][:-1], True)  # equal scores stand or fall together
    good = last & (alarms <= 1 - SPECIFICITY + 1e-12)
    return float(found[good].max()) if good.any() else 0.0


def discrimination(y: np.ndarray, p: np.ndarray) -> dict[str, Metric]:
    """AUC, Brier score, calibration error and sensitivity at a specificity of .97."""
    metrics = {"auc": auc, "brier": brier, "ece": ece, "sensitivity_at_97": sensitivity_at}
    return {name: bootstrap(y, p, metric) for name, metric in metrics.items()}


def slices(y: np.ndarray, p: np.ndarray, sets: np.ndarray, by: dict[str, np.ndarray]) -> list[Slice]:
    """For each group: coverage and referrals, and AUC where both findings occur often enough."""
    found = []
    for name, groups in by.items():
        names = np.unique(groups)
        for group in names if len(names) > 1 else ():
            rows = groups == group
            metrics = {"coverage": share(held(sets, y)[rows]), "referral_rate": share(referred(sets)[rows])}
            if min(y[rows].sum(), (1 - y[rows]).sum()) >= FEWEST_OF_A_LABEL:
                metrics |= {key: bootstrap(y[rows], p[rows], BINARY[key], repeats=300) for key in ("auc", "ece")}
            found.append(Slice(name=name, group=str(group), metrics=metrics))
    return found


def by_finding(y: np.ndarray, findings: Sequence[str]) -> np.ndarray:
    """What was found, in words (rows,)."""
    return np.array(findings)[y]


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


def with_few_labels(
    raw: np.ndarray, y: np.ndarray, group: np.ndarray, cuts: Sequence[tuple[np.ndarray, np.ndarray]], coverage: float
) -> dict[str, Metric]:
    """Coverage, size of sets, referrals, Brier score of a site recalibrated by few labels, over many draws of them.

    `cuts` are (labelled, tested) positions. A patient's value is the mean over the draws in which he is tested;
    intervals draw patients.
    """
    from healthcare.disease_diagnosis.promise import probability, site_of

    names = ("coverage90", "set_size", "referral_rate", "brier_recalibrated")
    total, times = np.zeros((len(names), len(y))), np.zeros(len(y))
    for labelled, tested in cuts:
        site: Site = site_of(raw[labelled], y[labelled], group[labelled])
        place = np.zeros(len(tested), int)
        p = probability(site.log_odds(raw[tested], place))
        sets = site.sets(p, coverage, place, group[tested])
        values = [held(sets, y[tested]), sets.sum(axis=1), referred(sets), (p - y[tested]) ** 2]
        total[:, tested] += np.array(values, float)
        times[tested] += 1
    mean = (total / np.maximum(times, 1))[:, times > 0]
    found = {}
    for name, values in zip(names, mean, strict=True):
        draws = [values[rows].mean() for rows in np.random.default_rng(0).integers(0, len(values), (500, len(values)))]
        low, high = interval(float(values.mean()), draws)
        found[name] = Metric(value=float(values.mean()), low=low, high=high, n=len(values))
    return found
